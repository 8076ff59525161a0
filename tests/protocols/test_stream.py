"""protocols.stream: listening sockets, and who may have stood there before."""

import errno
import socket
import stat
from pathlib import Path

import pytest

from protocols.stream import tcp_listener, unix_listener


def test_tcp_listens_at_once() -> None:
    """A client that connects before anything is served waits in the kernel, not in vain."""
    with tcp_listener("127.0.0.1", 0, 60) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            accepted.send(b"hello")
            accepted.close()
            assert client.recv(10) == b"hello"
        assert not listener.getblocking()


def test_tcp_connections_inherit_their_patience() -> None:
    """The kernel ends a connection whose bytes nobody takes, in milliseconds here."""
    with (
        tcp_listener("127.0.0.1", 0, 60) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_tcp_port_in_use() -> None:
    """A second listener is refused when it is made, not when it would serve."""
    with tcp_listener("127.0.0.1", 0, 60) as first:
        with pytest.raises(OSError) as refused:
            tcp_listener("127.0.0.1", first.getsockname()[1], 60)
        assert refused.value.errno == errno.EADDRINUSE


def test_tcp_port_can_be_had_again() -> None:
    """A restart does not wait for the old connections' TIME_WAIT."""
    with tcp_listener("127.0.0.1", 0, 60) as first:
        place = first.getsockname()
        with socket.create_connection(place) as client:
            accepted, _ = first.accept()
            accepted.close()  # the server's side closes first: TIME_WAIT is here
            assert client.recv(1) == b""
    tcp_listener("127.0.0.1", place[1], 60).close()


def test_unix_is_for_the_group(tmp_path: Path) -> None:
    """Mode 0660, whatever the umask."""
    path = tmp_path / "api.sock"
    with unix_listener(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_unix_replaces_the_dead(tmp_path: Path) -> None:
    """A socket that a killed process left is no reason not to start."""
    path = tmp_path / "api.sock"
    unix_listener(path).close()
    assert path.is_socket()
    with unix_listener(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_unix_leaves_the_living(tmp_path: Path) -> None:
    """A second process is told so, and the first goes on."""
    path = tmp_path / "api.sock"
    with unix_listener(path):
        with pytest.raises(OSError) as refused:
            unix_listener(path)
        assert refused.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_unix_leaves_files_alone(tmp_path: Path) -> None:
    """Only sockets are ever removed."""
    path = tmp_path / "api.sock"
    path.write_text("somebody's")
    with pytest.raises(OSError):
        unix_listener(path)
    assert path.read_text() == "somebody's"
