"""Settings of the kernel that are too small for a room full of machines (quirks X-1 to X-7), or in the way of some."""

import resource
import socket
from collections.abc import Iterator

from appliance.doctor.box import Box
from appliance.doctor.finding import Finding, error, ok, warning
from protocols.datagram import RECEIVE_BUFFER, udp_socket

NEIGHBOURS = 4096  # machines whose MAC the kernel keeps; each that boots needs an entry
NEIGHBOUR_SETTING = "net/ipv4/neigh/default/gc_thresh3"
CONNECTIONS = 65536  # a boot makes some ten that conntrack remembers for minutes
CONNECTIONS_FULL = 0.8  # of its table: what does not fit is dropped without a word
FILES = 4096  # open at once: a descriptor or two for each machine
WAITING = 1024  # connections to NBD and HTTP that wait to be accepted when a room is switched on
STRICT = 1  # rp_filter: only from where an answer would go


def check_neighbours(box: Box) -> Iterator[Finding]:
    """Past it machines are not answered (X-1)."""
    most = box.number(NEIGHBOUR_SETTING)
    if most is not None and most < NEIGHBOURS:
        remedy = "sysctl -w " + " ".join(f"net.ipv4.neigh.default.gc_thresh{n}={2048 << n}" for n in (1, 2, 3))
        yield warning("neighbour table", f"holds {most} machines at most", remedy)
    elif most is not None:
        yield ok("neighbour table", f"holds {most} machines")


def check_receive_buffer(box: Box) -> Iterator[Finding]:
    """What a socket of ours really gets; with CAP_NET_ADMIN that is more than rmem_max (T-23, X-2)."""
    with udp_socket("127.0.0.1", 0) as sock:
        size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel counts its own part in
    if size < RECEIVE_BUFFER:
        remedy = f"run as root, or: sysctl -w net.core.rmem_max={RECEIVE_BUFFER}"
        yield warning("receive buffer", f"{size >> 10} KiB: a storm of requests overflows it", remedy)
    else:
        yield ok("receive buffer", f"{size >> 20} MiB")


def check_conntrack(box: Box) -> Iterator[Finding]:
    """Only where connections are tracked (X-3)."""
    most = box.number("net/netfilter/nf_conntrack_max")
    used = box.number("net/netfilter/nf_conntrack_count")
    if most is None or used is None:
        return
    remedy = f"sysctl -w net.netfilter.nf_conntrack_max={max(CONNECTIONS, most) * 4}"
    if used > most * CONNECTIONS_FULL:
        yield error("conntrack", f"{used} of {most} connections are in its table: others are dropped", remedy)
    elif most < CONNECTIONS:
        yield warning("conntrack", f"its table holds {most} connections", remedy)
    else:
        yield ok("conntrack", f"{used} of {most} connections")


def check_files(box: Box) -> Iterator[Finding]:
    """The hard limit: `serve` takes all of it (X-6)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        yield warning("open files", f"{hard} at most", "ulimit -Hn 65536, or LimitNOFILE=65536 in the service")
    else:
        yield ok("open files", "no limit" if hard == resource.RLIM_INFINITY else f"{hard} at most")


def check_waiting(box: Box) -> Iterator[Finding]:
    """What listen() asks for is cut to it (X-7)."""
    most = box.number("net/core/somaxconn")
    if most is not None and most < WAITING:
        yield warning("connections", f"{most} may wait to be accepted", "sysctl -w net.core.somaxconn=4096")
    elif most is not None:
        yield ok("connections", f"{most} may wait to be accepted")


def check_sources(box: Box) -> Iterator[Finding]:
    """Strict filtering drops machines behind a relay, where the way back is by another interface."""
    values = [box.number(f"net/ipv4/conf/{name}/rp_filter") or 0 for name in ("all", box.interface.name)]
    others = [i for i in box.interfaces if i.addresses and not i.is_loopback and i.name != box.interface.name]
    if max(values) == STRICT and others:
        name = box.interface.name
        yield warning(
            "source filter",
            f"rp_filter is strict and there are other interfaces: machines behind a relay may not be heard on {name}",
            f"sysctl -w net.ipv4.conf.{name}.rp_filter=2",
        )
    else:
        yield ok("source filter", "in nobody's way")


def check_ping(box: Box) -> Iterator[Finding]:
    """KIWI's older client pings its server and takes another when it hears nothing (K-3)."""
    if box.number("net/ipv4/icmp_echo_ignore_all"):
        remedy = "sysctl -w net.ipv4.icmp_echo_ignore_all=0"
        yield error("ping", "is not answered: KIWI's netboot client takes that for a server that is off", remedy)
    else:
        yield ok("ping", "is answered")
