"""Golden captures: what firmware and the appliance said to each other, as pcap and as text that says the same.

Of each exchange the packets of DHCP and the boot server (ports 67, 68, 4011) are kept, of TFTP the requests, option
acknowledgements and errors, and of HTTP the heads of requests and answers. tests/captures/test_record.py takes them
anew from machines in QEMU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from struct import Struct

from appliance.hearing import PREFIX as PROBING
from protocols.dhcp.wire import MessageType, Op, Option, parse_packet

FOLDER = Path(__file__).parent
BOX = "10.77.0.2"
DHCP_PORTS = frozenset({67, 68, 4011})
TFTP_PORT = 69
TFTP_KEPT = {1: "RRQ", 2: "WRQ", 5: "ERROR", 6: "OACK"}  # opcodes; DATA and ACK are most of an exchange and say nothing
HTTP_PORT = 80
HTTP_KEPT = (b"GET ", b"HEAD ", b"HTTP/1.1 ")  # what a head begins with; bodies say nothing either
END_OF_HEAD = b"\r\n\r\n"
BYTES_A_LINE = 32

# A pcap file: magic, version, two zeros, the most of a packet that is kept, link type; then for each packet seconds,
# microseconds, the bytes kept and the bytes it had (draft-ietf-opsawg-pcap §4, §5). Little-endian, as tcpdump does.
FILE_HEADER = Struct("<IHHIIII")
PACKET_HEADER = Struct("<IIII")
MAGIC, ETHERNET, SNAP = 0xA1B2C3D4, 1, 65535
IPV4, TCP, UDP = b"\x08\x00", 6, 17


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP packet of an exchange, or what a TCP segment of it carries."""

    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes
    is_tcp: bool = False

    @property
    def is_http(self) -> bool:
        """Whether it begins a request or an answer of HTTP."""
        is_ours = HTTP_PORT in (self.source[1], self.destination[1])
        return self.is_tcp and is_ours and self.payload.startswith(HTTP_KEPT)

    @property
    def is_dhcp(self) -> bool:
        """Whether it is DHCP's or the boot server's."""
        return not self.is_tcp and self.source[1] in DHCP_PORTS and self.destination[1] in DHCP_PORTS

    @property
    def is_ours(self) -> bool:
        """Whether the appliance sent it."""
        return self.source[0] == BOX

    @property
    def is_kept(self) -> bool:
        """Whether it belongs into a golden capture."""
        if self.is_tcp:
            return self.is_http
        if BOX in (self.source[0], self.destination[0]):
            return self.is_dhcp or int.from_bytes(self.payload[:2], "big") in TFTP_KEPT
        is_asked_by_us = self.payload[28:31] == PROBING  # chaddr: whether another server is there
        return self.is_dhcp and self.destination[1] == 67 and not is_asked_by_us


def parse_frame(frame: bytes) -> Datagram | None:
    """What is in an Ethernet frame by UDP or TCP; None for anything else, and for fragments."""
    ip = frame[14:]
    if frame[12:14] != IPV4 or ip[9] not in (TCP, UDP) or int.from_bytes(ip[6:8], "big") & 0x3FFF:
        return None
    carried = ip[(ip[0] & 0x0F) * 4 : int.from_bytes(ip[2:4], "big")]
    ports = int.from_bytes(carried[:2], "big"), int.from_bytes(carried[2:4], "big")
    ends = str(IPv4Address(ip[12:16])), str(IPv4Address(ip[16:20]))
    is_tcp = ip[9] == TCP
    payload = carried[(carried[12] >> 4) * 4 :] if is_tcp else carried[8 : int.from_bytes(carried[4:6], "big")]
    return Datagram((ends[0], ports[0]), (ends[1], ports[1]), payload, is_tcp)


def cut(frame: bytes) -> bytes:
    """What is kept of a frame: of HTTP nothing behind the head."""
    datagram = parse_frame(frame)
    if datagram is None or not datagram.is_http:
        return frame
    body = datagram.payload.partition(END_OF_HEAD)[2]
    return frame[: len(frame) - len(body)]


def write_pcap(path: Path, frames: Sequence[bytes]) -> None:
    """Keep frames a second apart: when they came says nothing that holds on another machine."""
    packets = (PACKET_HEADER.pack(n, 0, len(cut(f)), len(f)) + cut(f) for n, f in enumerate(frames))
    path.write_bytes(FILE_HEADER.pack(MAGIC, 2, 4, 0, 0, SNAP, ETHERNET) + b"".join(packets))


def read_pcap(path: Path) -> Iterator[bytes]:
    """The frames of a capture."""
    data = path.read_bytes()
    assert FILE_HEADER.unpack_from(data)[0] == MAGIC
    at = FILE_HEADER.size
    while at < len(data):
        _, _, size, _ = PACKET_HEADER.unpack_from(data, at)
        yield data[at + PACKET_HEADER.size : at + PACKET_HEADER.size + size]
        at += PACKET_HEADER.size + size


def read_golden(name: str) -> list[Datagram]:
    """The exchange called `name`."""
    datagrams = [parse_frame(frame) for frame in read_pcap(FOLDER / f"{name}.pcap")]
    return [each for each in datagrams if each is not None]


def names() -> list[str]:
    """Every exchange that is kept."""
    return sorted(path.stem for path in FOLDER.glob("*.pcap"))


def render(about: str, datagrams: Sequence[Datagram]) -> str:
    """An exchange as text: what each packet holds, then its bytes."""
    return "\n\n".join([f"# {about}", *(_render(each) for each in datagrams)]) + "\n"


def _render(datagram: Datagram) -> str:
    ends = " > ".join(f"{address}:{port}" for address, port in (datagram.source, datagram.destination))
    if datagram.is_http:
        told = datagram.payload.decode("latin-1").strip().splitlines()
    else:
        told = _dhcp(datagram.payload) if datagram.is_dhcp else [_tftp(datagram.payload)]
    payload = datagram.payload
    dump = [payload[at : at + BYTES_A_LINE].hex() for at in range(0, len(payload), BYTES_A_LINE)]
    return "\n".join([f"# {ends}, {len(payload)} bytes", *(f"#   {line}" for line in told), *dump])


def _dhcp(payload: bytes) -> list[str]:
    packet = parse_packet(payload)
    who = "client" if packet.op is Op.REQUEST else "server"
    kind = MessageType(packet.options[Option.MESSAGE_TYPE][0]).name
    lines = [f"{kind} of a {who}, xid {packet.xid:08x}, flags {packet.flags:04x}"]
    lines.append(f"ciaddr {packet.ciaddr}, yiaddr {packet.yiaddr}, siaddr {packet.siaddr}, giaddr {packet.giaddr}")
    lines.append(f"chaddr {packet.hardware_address.hex(':')}, sname {packet.sname!r}, file {packet.file!r}")
    known = {int(option): option.name for option in Option}
    return lines + [f"{code:3} {known.get(code, ''):18} {_value(value)}" for code, value in packet.options.items()]


def _value(value: bytes) -> str:
    is_text = len(value) > 4 and all(0x20 <= byte < 0x7F for byte in value)
    return repr(value.decode()) if is_text else value.hex(" ")


def _tftp(payload: bytes) -> str:
    words = payload[2:].rstrip(b"\0").split(b"\0")
    return f"{TFTP_KEPT[payload[1]]} {' '.join(repr(word.decode('latin-1')) for word in words)}"
