"""Sending no faster than a client can take it: the kernel spaces a socket's packets out."""

import socket

SO_MAX_PACING_RATE = 47  # asm-generic/socket.h; Python's socket module does not name it
RATE_MOST = 0x7FFFFFFF  # bytes a second that the call takes: 17 Gbit/s


def pace_socket(sock: socket.socket, rate: int) -> None:
    """Have a socket send `rate` bytes a second at most; 0 is no limit.

    TCP does so by itself, UDP where the interface's queueing discipline is fq, and else not.
    """
    if rate:
        sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, min(rate, RATE_MOST))
