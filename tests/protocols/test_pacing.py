"""Sockets that send no faster than they may."""

import asyncio
import socket
from pathlib import Path

import pytest

from protocols.http.endpoint import HttpServer
from protocols.pacing import RATE_MOST, SO_MAX_PACING_RATE, pace_socket
from storage.image import BytesImage, Image
from storage.upload import Upload

UNLIMITED = 0xFFFFFFFF


def rate_of(sock: socket.socket) -> int:
    """What the kernel keeps to."""
    return sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE) & 0xFFFFFFFF


@pytest.mark.parametrize(("rate", "kept"), [(0, UNLIMITED), (1, 1), (12_500_000, 12_500_000), (1 << 40, RATE_MOST)])
def test_rate(rate: int, kept: int) -> None:
    """Bytes a second; 0 leaves the socket as it was."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        pace_socket(sock, rate)
        assert rate_of(sock) == kept


async def test_http_is_paced_by_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection of a client that has a rate is given it before its first answer."""
    rates: list[int] = []

    async def open_read(name: str, client: str) -> Image:
        return BytesImage(b"x")

    async def open_write(name: str, client: str, size: int | None) -> Upload:
        raise PermissionError(name)

    def pacing(sock: socket.socket, rate: int) -> None:
        pace_socket(sock, rate)
        rates.append(rate_of(sock))

    monkeypatch.setattr("protocols.http.endpoint.pace_socket", pacing)
    server = HttpServer(
        open_read=open_read, open_write=open_write, report=lambda event: None, pace={"127.0.0.1": 1000}.__getitem__
    )
    await server.bind("127.0.0.1", 0)
    running = asyncio.create_task(server.run())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /x HTTP/1.0\r\n\r\n")
    assert (await reader.read()).endswith(b"x")
    writer.close()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert rates == [1000]
