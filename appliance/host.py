"""The box we run on: its interfaces, who holds a port, which rights we have; told as an operator would want it."""

import contextlib
import errno
import fcntl
import resource
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from pyroute2 import AsyncIPRoute

from appliance.errors import OperatorError

# linux/if.h
IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_LOWER_UP = 0x10000
ATF_COMPLETE = 0x2  # linux/if_arp.h: the entry has a hardware address
SIOCGIFMTU = 0x8921  # linux/sockios.h
IFREQ_MTU = "16si20x"  # linux/if.h, struct ifreq: a name, a number, and what the union has beside
PROC = Path("/proc")

_MAKE_TREE = "make it, with boot/linux, boot/initrd and image/NAME in it"


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: its name, hardware address, MTU in bytes, and IPv4 addresses, the first of them primary.

    `prefixes` are how many bits of each address are its subnet's.
    """

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    is_loopback: bool
    is_up: bool = True
    has_carrier: bool = True
    prefixes: tuple[int, ...] = ()

    def own(self, address: str) -> IPv4Interface:
        """One of the interface's addresses, with its subnet."""
        return IPv4Interface((address, self.prefixes[self.addresses.index(address)]))


async def list_interfaces() -> list[Interface]:
    """Every interface of this network namespace, in the kernel's order."""
    async with AsyncIPRoute() as route:
        addresses: dict[int, list[tuple[str, int]]] = {}
        async for message in await route.addr("dump", family=2):  # AF_INET
            addresses.setdefault(message["index"], []).append((message.get("IFA_LOCAL"), message["prefixlen"]))
        return [
            Interface(
                name=link.get("IFLA_IFNAME"),
                mac=link.get("IFLA_ADDRESS") or "",
                mtu=link.get("IFLA_MTU"),
                addresses=tuple(address for address, _ in addresses.get(link["index"], ())),
                prefixes=tuple(prefix for _, prefix in addresses.get(link["index"], ())),
                is_loopback=bool(link["flags"] & IFF_LOOPBACK),
                is_up=bool(link["flags"] & IFF_UP),
                has_carrier=bool(link["flags"] & IFF_LOWER_UP),
            )
            async for link in await route.link("dump")
        ]


async def choose_interface(name: str | None, address: str | None) -> tuple[Interface, str]:
    """The interface to serve on and the IPv4 address to serve from.

    Without a `name`, the only interface that is no loopback; without an `address`, the interface's first.
    Raises: OperatorError naming what there is to choose from.
    """
    everything = await list_interfaces()
    candidates = [i for i in everything if not i.is_loopback]
    there = ", ".join(i.name for i in candidates) or "none"
    if name is None and len(candidates) != 1:
        raise OperatorError("no interface was named", f"add --interface NAME, one of: {there}")
    chosen = next((i for i in everything if i.name == name), None) if name else candidates[0]
    if chosen is None:
        raise OperatorError(f"interface {name} does not exist", f"name one of: {there}")
    if not chosen.addresses:
        raise OperatorError(
            f"interface {chosen.name} has no IPv4 address",
            f"give it one, as with: ip addr add 192.168.0.2/24 dev {chosen.name}",
        )
    if address is not None and address not in chosen.addresses:
        raise OperatorError(
            f"address {address} is not on interface {chosen.name}", f"use one of: {', '.join(chosen.addresses)}"
        )
    return chosen, address or chosen.addresses[0]


def require_folder(root: Path | None) -> Path:
    """The boot tree's folder. Raises: OperatorError when none was named, it is not there, or it can't be read."""
    if root is None:
        raise OperatorError("no boot tree was named", "add --root DIR, the folder that holds boot/ and image/")
    try:
        next(root.iterdir(), None)
    except FileNotFoundError as failure:
        raise OperatorError(f"boot tree {root} does not exist", _MAKE_TREE) from failure
    except NotADirectoryError as failure:
        raise OperatorError(f"boot tree {root} is no folder", _MAKE_TREE) from failure
    except OSError as failure:
        remedy = "let the user that runs rootwire read it, and search the folders above it"
        raise OperatorError(f"boot tree {root}: {failure.strerror}", remedy) from failure
    return root


def neighbour(address: str) -> str | None:
    """The MAC that the kernel sends packets for an IPv4 address of the LAN to; None for one it knows none of.

    Reads memory, not a disk.
    """
    for line in (PROC / "net" / "arp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[0] == address and int(fields[2], 16) & ATF_COMPLETE:
            return fields[3].lower()
    return None


def mtu(interface: str) -> int:
    """The MTU of an interface in bytes, at this moment. Raises: OSError for one that is not there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, SIOCGIFMTU, struct.pack(IFREQ_MTU, interface.encode(), 0))
    return int(struct.unpack(IFREQ_MTU, answer)[1])


def raise_file_limit() -> None:
    """Take as many open files as we may: a thousand clients need a descriptor or two each (quirks X-6)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def binding(service: str, transport: str, address: str, port: int) -> Iterator[None]:
    """Turn the OSError of a bind inside into an OperatorError that says which service, which port, and who has it.

    `transport` is "udp", "tcp" or "raw" (then `address` is an interface and `port` does not matter).
    """
    where = f"{transport.upper()} port {port} on {address}" if transport != "raw" else f"raw socket on {address}"
    try:
        yield
    except OSError as failure:
        if failure.errno == errno.EADDRINUSE:
            holder = port_holder(transport, port) or "another program"
            raise OperatorError(f"{service}: {where} is in use by {holder}", "stop that program first") from failure
        if failure.errno in (errno.EPERM, errno.EACCES):
            raise OperatorError(
                f"{service}: no right to open {where}",
                "run as root, or with the capabilities CAP_NET_BIND_SERVICE, CAP_NET_RAW and CAP_NET_ADMIN",
            ) from failure
        raise OperatorError(
            f"{service}: {where}: {failure.strerror or failure}", "mend that and start again"
        ) from failure


def port_holder(transport: str, port: int) -> str | None:
    """The program that holds a local TCP or UDP port, as "name (pid n)"; None when it can't be told."""
    inodes = {inode for inode, local in _sockets(transport) if local == port}
    for process in PROC.iterdir():
        if process.name.isdigit() and inodes & _socket_inodes(process):
            return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _sockets(transport: str) -> Iterator[tuple[str, int]]:
    """(inode, local port) of every IPv4 and IPv6 socket of a transport that listens or is unconnected."""
    for table in (PROC / "net" / transport, PROC / "net" / f"{transport}6"):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] in ("0A", "07"):  # TCP_LISTEN; UDP's unconnected sockets show as TCP_CLOSE
                yield fields[9], int(fields[1].rsplit(":", 1)[1], 16)


def _socket_inodes(process: Path) -> set[str]:
    """The sockets a process holds; none where it is another user's, and less those it closes meanwhile."""
    inodes = set()
    with contextlib.suppress(OSError):
        for fd in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(fd.readlink()).removeprefix("socket:[").rstrip("]"))
    return inodes


def claim_socket(path: Path) -> Path:
    """Make the API socket's folder; a socket left behind by a process that was killed is replaced when bound.

    Raises: OperatorError when another rootwire answers there, or the folder can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise OperatorError(f"API socket {path}: {failure.strerror}", "name another with --socket PATH") from failure
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) != 0:
            return path
    raise OperatorError(f"another rootwire answers on {path}", "stop it, or give this one --socket PATH")
