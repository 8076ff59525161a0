"""protocols.datagram: UDP sockets as boot clients need them."""

import errno
import os
import socket

import pytest

from protocols.datagram import IP_MTU_DISCOVER, IP_PMTUDISC_DONT, RECEIVE_BUFFER, udp_socket


def test_bound_and_never_blocking() -> None:
    """Port 0 is any free one; reading nothing returns at once."""
    with udp_socket("127.0.0.1", 0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert sock.getsockname()[1] > 0
        with pytest.raises(BlockingIOError):
            sock.recv(1)


def test_never_sets_df() -> None:
    """PXE ROMs are confused by it (quirks D-8)."""
    with udp_socket("127.0.0.1", 0) as sock:
        assert sock.getsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_DONT


def test_room_for_a_storm() -> None:
    """As large a receive buffer as the kernel grants (it doubles what it is asked for)."""
    with udp_socket("127.0.0.1", 0) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        assert granted == plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_a_port_is_never_shared() -> None:
    """A second program on the port is refused: each would see half the requests."""
    with udp_socket("127.0.0.1", 0) as first:
        with pytest.raises(OSError) as refused:
            udp_socket("127.0.0.1", first.getsockname()[1])
        assert refused.value.errno == errno.EADDRINUSE


def test_a_refused_socket_is_closed() -> None:
    """No descriptor is left of one that could not be bound."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count, not paths
    with pytest.raises(OSError):
        udp_socket("192.0.2.1", 0)  # TEST-NET: never ours
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("broadcast", [False, True])
def test_broadcast_only_when_asked(broadcast: bool) -> None:
    """Without it the kernel refuses to send to everybody."""
    with udp_socket("127.0.0.1", 0, broadcast=broadcast) as sock:
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)) is broadcast


@pytest.mark.root
def test_tied_to_one_interface() -> None:
    """What comes by another interface is not heard."""
    with udp_socket("127.0.0.1", 0, interface="lo") as sock:
        name = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        assert name.rstrip(b"\0") == b"lo"


@pytest.mark.root
def test_an_interface_that_is_not_there() -> None:
    """OSError with ENODEV, untouched."""
    with pytest.raises(OSError) as refused:
        udp_socket("127.0.0.1", 0, interface="rw-none0")
    assert refused.value.errno == errno.ENODEV


def test_a_long_datagram_arrives_in_fragments() -> None:
    """The largest TFTP block KIWI asks for, 65464 bytes and its header, passes whole (KIWI 1.8)."""
    with udp_socket("127.0.0.1", 0) as receiver, udp_socket("127.0.0.1", 0) as sender:
        sender.sendto(bytes(65468), receiver.getsockname())
        receiver.settimeout(10)
        assert len(receiver.recv(70_000)) == 65468
