"""Real firmware against the server: does it take the answers, and ask TFTP for the file it was offered?

What the machines sent is kept in captures/, for the tests that need no machine; RECORD_CAPTURES=1 writes it anew.
ROOTWIRE_CAPTURE=1 takes the golden captures of the flows anew, replies included (tests/captures).
"""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from protocols.datagram import udp_socket
from protocols.dhcp.endpoint import BootServerAsked, DhcpEvent, Flow, MenuItem, Offer, Offered, ProxyDhcpServer
from protocols.dhcp.reply import SERVER_PORT
from tests.captures.recorder import captured
from tests.protocols.dhcp.lan import BOX, Lan, inside
from tests.protocols.dhcp.vectors import write_capture

BOOT_FILE = "loader.bin"
OTHER_FILE = "other.bin"
UUID = "12345678-9abc-def0-1122-334455667788"
MAC = "52:54:00:77:00:01"
OVMF = Path("/usr/share/OVMF")
ABOUT = {
    "ipxe-rom": "The iPXE ROM of QEMU's virtio card on BIOS (Debian 12: ipxe-qemu), given one complete offer",
    "ipxe-rom-4011": "The same ROM, given an offer without option 43 and boot file: then it asks the boot server",
    "ipxe-rom-menu": "The same ROM, given a boot menu of two items: it asks for the first on port 4011",
    "ovmf": "OVMF (Debian 12), given one complete offer",
    "ovmf-4011": "OVMF, given an offer without option 43 and boot file: then it asks the boot server",
    "ovmf-menu": "OVMF, given a boot menu of two items: it asks for the first on port 4011",
}
PATIENCE = 150  # seconds; under software emulation on a busy machine OVMF takes its time to the first DISCOVER
ETH_P_IP = 0x0800
pytestmark = [pytest.mark.root, pytest.mark.qemu, pytest.mark.parametrize("firmware", ["ipxe-rom", "ovmf"])]

Tool = Callable[[str], str]


async def test_complete_offer(lan: Lan, tmp_path: Path, tool: Tool, firmware: str) -> None:
    """A machine boots from the one offer, without a question to port 4011."""
    events: list[DhcpEvent] = []
    command = machine(lan, tool("qemu-system-x86_64"), firmware, tmp_path)
    with recorded(lan, firmware):
        async with running(*lan.dhcp_server(tool("dnsmasq"), tmp_path)), serving(lan, Offer(BOOT_FILE), events):
            assert await first_tftp_name(lan, command) == BOOT_FILE
    assert {(each.request.mac, each.request.uuid) for each in events if isinstance(each, Offered)} == {(MAC, UUID)}
    assert [each for each in events if isinstance(each, BootServerAsked)] == []


@pytest.mark.parametrize("flow", ["binl", "menu"])
async def test_boot_server(lan: Lan, tmp_path: Path, tool: Tool, firmware: str, flow: Flow) -> None:
    """A machine that is only told where the boot server is, or given a menu, gets its boot file on port 4011."""
    events: list[DhcpEvent] = []
    command = machine(lan, tool("qemu-system-x86_64"), firmware, tmp_path)
    menu = (MenuItem("First", BOOT_FILE), MenuItem("Second", OTHER_FILE)) if flow == "menu" else ()
    name = f"{firmware}-{'4011' if flow == 'binl' else flow}"
    with recorded(lan, name), captured(lan.box, f"{firmware}-{flow}", ABOUT[name]):
        plain_dhcp = running(*lan.dhcp_server(tool("dnsmasq"), tmp_path))
        async with plain_dhcp, serving(lan, Offer(BOOT_FILE, flow, menu), events):
            assert await first_tftp_name(lan, command) == BOOT_FILE
    asked = [each for each in events if isinstance(each, BootServerAsked)]
    assert {(each.request.mac, each.request.via) for each in asked} == {(MAC, "4011")}


def machine(lan: Lan, qemu: str, firmware: str, folder: Path) -> tuple[str, ...]:
    """The command that switches on a machine without a disk."""
    tap = lan.tap()
    card = f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=1"
    words = ["-accel", "tcg,thread=single", "-nographic", "-no-reboot", "-uuid", UUID]
    words += ["-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no"]
    if firmware == "ovmf":
        shutil.copy(OVMF / "OVMF_VARS_4M.fd", folder / "vars.fd")
        words += ["-M", "q35", "-m", "512", "-device", "virtio-rng-pci", "-device", f"{card},romfile="]
        words += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd"]
        words += ["-drive", f"if=pflash,format=raw,file={folder}/vars.fd"]
    else:
        words += ["-m", "256", "-device", card]
    return ("ip", "netns", "exec", lan.wire, qemu, *words)


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[None]:
    """A program, for as long as the block lasts."""
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=nothing)
    try:
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def background(work: asyncio.Future[None]) -> AsyncIterator[None]:
    """Something that runs while the block does, and must not end before it."""
    try:
        yield
    finally:
        assert not work.done(), work
        work.cancel()
        await asyncio.wait([work])


@asynccontextmanager
async def serving(lan: Lan, offer: Offer, events: list[DhcpEvent]) -> AsyncIterator[None]:
    """Our server in the box, with one offer for everyone."""
    server = ProxyDhcpServer(plan=lambda request: offer, report=events.append)
    with inside(lan.box):
        await server.bind("eth0", BOX)
        await server.bind_boot_server("eth0", BOX)
    async with background(asyncio.ensure_future(server.run())):
        yield


async def first_tftp_name(lan: Lan, command: tuple[str, ...]) -> str:
    """Switch the machine on and give the name in the first read request that it sends to the box."""
    with inside(lan.box):
        tftp = udp_socket(BOX, 69)
    with tftp:
        async with running(*command), asyncio.timeout(PATIENCE):
            request = await asyncio.get_running_loop().sock_recv(tftp, 2048)
    assert request[:2] == b"\0\1", "a read request"
    return request[2:].partition(b"\0")[0].decode()


@contextmanager
def recorded(lan: Lan, name: str) -> Iterator[None]:
    """With RECORD_CAPTURES=1, keep what comes to the box's DHCP ports as capture `name`."""
    if os.environ.get("RECORD_CAPTURES") != "1":
        yield
        return
    with inside(lan.box):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_IP))
    packets: list[tuple[int, bytes]] = []

    def keep() -> None:
        frame = tap.recv(2048)
        udp = frame[(frame[0] & 0x0F) * 4 :]
        port = int.from_bytes(udp[2:4], "big")
        if frame[12:16] != socket.inet_aton(BOX) and port in (SERVER_PORT, 4011):
            packets.append((port, udp[8 : int.from_bytes(udp[4:6], "big")]))

    loop = asyncio.get_running_loop()
    loop.add_reader(tap, keep)
    try:
        yield
    finally:
        loop.remove_reader(tap)
        tap.close()
    write_capture(name, ABOUT[name], packets)
