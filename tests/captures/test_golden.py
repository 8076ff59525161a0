"""Golden captures replayed into today's code, and its replies read by two decoders that are not ours."""

import json
import subprocess
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from protocols.dhcp.leasing.book import Book
from protocols.dhcp.leasing.lessor import Lessor
from protocols.dhcp.leasing.network import Network, Span
from protocols.dhcp.offer import MenuItem, Offer, Refusal
from protocols.dhcp.request import BootRequest
from protocols.dhcp.session import answer
from protocols.dhcp.wire import Option, parse_packet
from tests.captures.golden import BOX, FOLDER, Datagram, names, read_golden, render
from tests.protocols.dhcp.judge import ACK, DISCOVER, MESSAGE, OFFER, Fields, take_apart

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, of Python's and of ciphers that nobody asked for
    from scapy.layers.dhcp import BOOTP, DHCP

pytestmark = pytest.mark.parametrize("name", names())

# What tshark calls each field that a boot rests on, and how it prints what we mean by it.
TSHARK: dict[str, Callable[[Fields], str]] = {
    "dhcp.type": lambda reply: str(reply.op),
    "dhcp.hw.len": lambda reply: str(reply.link[1]),
    "dhcp.id": lambda reply: f"0x{reply.xid.hex()}",
    "dhcp.ip.your": lambda reply: dotted(reply.yiaddr),
    "dhcp.ip.server": lambda reply: dotted(reply.siaddr),
    "dhcp.ip.relay": lambda reply: dotted(reply.giaddr),
    "dhcp.hw.mac_addr": lambda reply: reply.chaddr[:6].hex(":"),
    "dhcp.server": lambda reply: text(reply.sname),
    "dhcp.file": lambda reply: text(reply.file),
    "dhcp.option.dhcp": lambda reply: str(reply.options[53][0]),
    "dhcp.option.dhcp_server_id": lambda reply: dotted(reply.options[54]),
    "dhcp.option.vendor_class_id": lambda reply: text(reply.options[60]),
    "dhcp.option.tftp_server_name": lambda reply: text(reply.options.get(66, b"")),
    "dhcp.option.bootfile_name": lambda reply: text(reply.options.get(67, b"")),
    "dhcp.option.vendor.pxeclient.discovery_control": lambda reply: discovery_control(reply.options.get(43, b"")),
}
# What tests/protocols/dhcp/test_firmware.py offers; the other captures' offers are complete ones of what they name.
MENU = (MenuItem("First", "loader.bin"), MenuItem("Second", "other.bin"))
FLOWS = {"binl": Offer("loader.bin", "binl"), "menu": Offer("loader.bin", "menu", MENU)}
SCAPY = {53: "message-type", 54: "server_id", 60: "vendor_class_id", 66: "tftp_server_name", 67: "boot-file-name"}


OWN_DHCP = "own-dhcp"


def lab_lessor() -> Lessor:
    """What gives addresses in the lab whose only DHCP server is the box."""
    subnet = IPv4Network("10.77.0.0/24")
    pool = (Span(IPv4Address("10.77.0.50"), IPv4Address("10.77.0.250")),)
    network = Network(subnet, pool, router="10.77.0.1", lease_seconds=3600, excluded=frozenset({BOX}))
    return Lessor([Book(network, {})], server=BOX)


def dotted(address: bytes) -> str:
    """An address as text."""
    return str(IPv4Address(address))


def discovery_control(vendor: bytes) -> str:
    """43.6 as tshark prints it; it is the first where there is one."""
    return f"0x{vendor[2]:02x}" if vendor[:2] == b"\6\1" else ""


def text(value: bytes) -> str:
    """A name up to its first NUL."""
    return value.partition(b"\0")[0].decode()


def exchanges(datagrams: Sequence[Datagram]) -> list[tuple[Datagram, bytes | None]]:
    """Each packet that came to the box's DHCP ports, with the answer that it had then."""
    told = [each for each in datagrams if each.is_dhcp]
    found: list[tuple[Datagram, bytes | None]] = []
    for at, asked in enumerate(told):
        if asked.is_ours or asked.payload[0] != 1:
            continue
        xid = asked.payload[4:8]
        later = [each for each in told[at + 1 :] if each.payload[4:8] == xid]
        # iPXE's offer is sent again, which may be after its REQUEST to the other server: that is no answer to it.
        kind = OFFER if take_apart(asked.payload).options[MESSAGE][0] == DISCOVER else ACK
        is_answered = bool(later) and later[0].is_ours and take_apart(later[0].payload).options[MESSAGE][0] == kind
        found.append((asked, later[0].payload if is_answered else None))
    return found


def replies(name: str) -> list[bytes]:
    """All that the appliance said by DHCP."""
    return [each.payload for each in read_golden(name) if each.is_dhcp and each.is_ours]


def test_text_says_what_the_capture_holds(name: str) -> None:
    """Neither is changed without the other."""
    kept = (FOLDER / f"{name}.txt").read_text()
    about = kept.partition("\n")[0].removeprefix("# ")
    assert kept == render(about, read_golden(name))


def test_replies_are_still_the_same(name: str) -> None:
    """Byte for byte what the firmware took; what had no answer has none."""
    answered, lessor = 0, lab_lessor() if name == OWN_DHCP else None
    for asked, golden in exchanges(read_golden(name)):

        def plan(request: BootRequest, golden: bytes | None = golden) -> Offer | Refusal:
            if golden is None:
                return Refusal("it had no answer")
            flow = name.rpartition("-")[2]
            if flow in FLOWS:
                return FLOWS[flow]
            boot_file = parse_packet(golden).options[Option.BOOT_FILE].decode()
            return Offer(boot_file, "http" if request.wants_http else "complete")

        via: Any = str(asked.destination[1])
        ask = partial(answer, asked.payload, via=via, source=asked.source, address=BOX, plan=plan, lessor=lessor)
        outcome = ask()
        if lessor is not None and outcome.unchecked is not None:  # nobody on the LAN had it
            lessor.check(parse_packet(asked.payload), outcome.unchecked)
            outcome = ask()
        assert (outcome.answer.datagram if outcome.answer else None) == golden
        answered += golden is not None
    assert answered


def test_tshark_reads_what_we_mean(name: str, tool: Callable[[str], str]) -> None:
    """Field by field, and with nothing that it calls malformed."""
    words = ["-r", str(FOLDER / f"{name}.pcap"), "-Y", f"dhcp && ip.src == {BOX}", "-T", "json"]
    fields = [word for field in (*TSHARK, "_ws.malformed") for word in ("-e", field)]
    done = subprocess.run([tool("tshark"), *words, *fields], capture_output=True, text=True, check=True)
    packets = [each["_source"]["layers"] for each in json.loads(done.stdout)]
    ours = [take_apart(data) for data in replies(name)]
    assert len(packets) == len(ours) > 0
    for packet, reply in zip(packets, ours, strict=True):
        assert "_ws.malformed" not in packet
        for field, meant in TSHARK.items():
            assert packet.get(field, [""])[0] == meant(reply), field


def test_scapy_reads_what_we_mean(name: str) -> None:
    """The same header and options, END in its place."""
    for data in replies(name):
        reply, read = take_apart(data), BOOTP(data)
        assert (read.op, read.hlen, read.xid) == (2, reply.link[1], int.from_bytes(reply.xid, "big"))
        assert (read.yiaddr, read.siaddr, read.giaddr) == tuple(map(dotted, (reply.yiaddr, reply.siaddr, reply.giaddr)))
        assert (read.chaddr, text(read.sname), text(read.file)) == (reply.chaddr, text(reply.sname), text(reply.file))
        listed = read[DHCP].options
        assert "end" in listed
        options: dict[str, Any] = dict(each[:2] for each in listed if isinstance(each, tuple))
        for code, option in SCAPY.items():
            if code in reply.options:
                assert as_bytes(options[option]) == reply.options[code], option


def test_tshark_reads_http(name: str, tool: Callable[[str], str]) -> None:
    """Each answer's status, type and length, of which UEFI wants to know all three before it loads anything."""
    fields = ("http.response.code", "http.content_type", "http.content_length_header")
    words = [word for field in fields for word in ("-e", field)]
    words += ["-r", str(FOLDER / f"{name}.pcap"), "-Y", "http.response", "-T", "fields"]
    bodiless = ["-o", "http.desegment_body:FALSE"]  # the captures have none, and tshark would wait for them
    done = subprocess.run([tool("tshark"), *words, *bodiless], capture_output=True, text=True, check=True)
    heads = [each.payload.decode() for each in read_golden(name) if each.is_http and each.is_ours]
    meant = [(head.split()[1], header(head, "Content-Type"), header(head, "Content-Length")) for head in heads]
    assert [tuple(line.split("\t")) for line in done.stdout.splitlines()] == meant


def header(head: str, field: str) -> str:
    """A field of an answer's head."""
    return next(line for line in head.splitlines() if line.startswith(f"{field}: ")).partition(": ")[2]


def as_bytes(value: Any) -> bytes:
    """What scapy made of an option: a number, an address or bytes."""
    if isinstance(value, int):
        return bytes((value,))
    if isinstance(value, str):
        return IPv4Address(value).packed
    return bytes(value)


def test_captures_are_small(name: str) -> None:
    """They are kept in the repository for ever."""
    assert Path(FOLDER / f"{name}.pcap").stat().st_size < 50_000
