"""The ports that are served: free, ours already, or taken and by whom (quirks X-4); and the right to raw frames."""

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from appliance.doctor.box import OURSELVES, Box
from appliance.doctor.finding import Finding, error, ok
from appliance.host import port_holder
from protocols.aoe.wire import ETHERTYPE
from protocols.datagram import udp_socket
from protocols.dhcp.endpoint import BOOT_SERVER_PORT, PROXY_PORT
from protocols.dhcp.reply import EVERYONE
from protocols.ethernet import packet_socket

SUBJECT = "ports"


@dataclass(frozen=True, slots=True)
class Port:
    """A port that is served, and what for; broadcasts are heard on some."""

    transport: Literal["udp", "tcp"]
    number: int
    service: str
    hears_broadcasts: bool = False

    def __str__(self) -> str:
        return f"{self.transport.upper()} port {self.number} ({self.service})"


PORTS = (
    Port("udp", PROXY_PORT, "ProxyDHCP", hears_broadcasts=True),
    Port("udp", BOOT_SERVER_PORT, "PXE boot server", hears_broadcasts=True),
    Port("udp", 69, "TFTP"),
    Port("tcp", 80, "HTTP"),
    Port("tcp", 10809, "NBD"),
)


def check_ports(box: Box) -> Iterator[Finding]:
    """Each port is bound as the appliance would, and let go again."""
    free, ours = [], []
    for port in PORTS:
        try:
            _try(port, box)
        except OSError as failure:
            if failure.errno in (errno.EACCES, errno.EPERM):
                yield _no_right(f"to open {port}")
                continue
            holder = port_holder(port.transport, port.number) if failure.errno == errno.EADDRINUSE else None
            if holder and holder.startswith(OURSELVES):
                ours.append(port)
            elif port.number == PROXY_PORT and box.may_share and failure.errno == errno.EADDRINUSE:
                who = holder or "another program"
                yield ok(SUBJECT, f"{port} is held by {who}: machines are heard by a packet socket beside it")
            else:
                yield _taken(port, holder, failure)
        else:
            free.append(port)
    if free:
        yield ok(SUBJECT, f"{', '.join(str(port.number) for port in free)} are free")
    if ours:
        yield ok(SUBJECT, f"{', '.join(str(port.number) for port in ours)} are served by a rootwire that runs")


def check_raw_frames(box: Box) -> Iterator[Finding]:
    """AoE needs a packet socket."""
    try:
        packet_socket(box.interface.name, ETHERTYPE).close()
    except PermissionError:
        yield _no_right("to send and receive raw frames (AoE)")
    else:
        yield ok("raw frames", f"AoE can be served on {box.interface.name}")


def _no_right(what: str) -> Finding:
    capabilities = "CAP_NET_BIND_SERVICE, CAP_NET_RAW and CAP_NET_ADMIN"
    return error(SUBJECT, f"no right {what}", f"run as root, or with {capabilities}")


def _taken(port: Port, holder: str | None, failure: OSError) -> Finding:
    if failure.errno != errno.EADDRINUSE:
        return error(SUBJECT, f"{port} can't be opened: {failure.strerror}", "mend that")
    text = f"{port} is held by {holder or 'another program'}"
    return error(SUBJECT, text, f"stop {holder.split(' ')[0] if holder else 'it'}, or keep it off this interface")


def _try(port: Port, box: Box) -> None:
    """Bind as the appliance does, and let go. Raises: OSError as bind does."""
    if port.transport == "udp":
        udp_socket(box.address, port.number, interface=box.interface.name).close()
        if port.hears_broadcasts:
            udp_socket(EVERYONE, port.number, interface=box.interface.name).close()
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past old connections, not servers
        listener.bind((box.address, port.number))
