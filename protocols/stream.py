"""Listening stream sockets: TCP for machines, unix for the operator's own commands."""

import os
import socket
from errno import EADDRINUSE
from pathlib import Path

BACKLOG = 1024  # connections the kernel keeps waiting: a classroom switched on at once (quirks X-7)
UNIX_MODE = 0o660  # the appliance's user and group; others on the box have no business with it


def tcp_listener(address: str, port: int, stall: float) -> socket.socket:
    """A listening, non-blocking IPv4 socket; `port` 0 takes any free one.

    The kernel ends a connection when nobody takes in the bytes sent on it for `stall` seconds, also after the program
    is done with it. Raises: OSError as socket calls do.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # else no restart while old ones are in TIME_WAIT
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stall * 1000))
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def unix_listener(path: Path) -> socket.socket:
    """A listening, non-blocking unix socket of mode 0660; one that a dead process left in its place is replaced.

    Raises: OSError as socket calls do, with EADDRINUSE also when a live process answers on `path`.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if path.is_socket():
            remove_if_dead(path)
        listener.bind(str(path))
        path.chmod(UNIX_MODE)  # before listen: until then nobody gets in
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def remove_if_dead(path: Path) -> None:
    """Remove a unix socket nobody answers on. Raises: OSError with EADDRINUSE when somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(EADDRINUSE, os.strerror(EADDRINUSE), str(path))
