"""UDP sockets as boot clients need them: no DF, room for a storm of requests, tied to one interface."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

RECEIVE_BUFFER = 4 << 20  # bytes; a classroom that is switched on at once must not overflow it (quirks T-23)
SO_RCVBUFFORCE = 33  # asm-generic/socket.h: past net.core.rmem_max, which is 208 KiB on stock Debian (quirks X-2)
IP_MTU_DISCOVER = 10  # linux/in.h; Python's socket module does not name it
IP_PMTUDISC_DONT = 0


def udp_socket(
    address: str,
    port: int,
    *,
    interface: str | None = None,
    broadcast: bool = False,
    beside: socket.socket | None = None,
) -> socket.socket:
    """A bound, non-blocking IPv4 UDP socket that never sets DF (PXE ROMs are confused by it: quirks D-8).

    `address` is the local address, `port` 0 to 65535 (0: any free one); `interface` ties it to one device
    (needs CAP_NET_RAW); `broadcast` allows sending to broadcast addresses; `beside` is a socket of ours that has this
    port already and lets this one in: connect it to its only peer at once, since until then it hears the others too.
    Raises: OSError as bind and setsockopt do. Addresses are never shared with another program (no SO_REUSEADDR):
    two boot servers on one port would each see half the requests.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        _make_room(sock)
        if broadcast:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        with _let_in(sock, beside):
            sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def _let_in(sock: socket.socket, beside: socket.socket | None) -> Iterator[None]:
    """While this lasts `sock` may be bound to the port of `beside`; other programs may not, before or after."""
    if beside is None:
        yield
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        yield
    finally:
        beside.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _make_room(sock: socket.socket) -> None:
    """The receive buffer we want, or without CAP_NET_ADMIN as much of it as the system allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
