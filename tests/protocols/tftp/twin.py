"""The native pump's twin: octet reads over asyncio, by the sans-IO state machine that the pump follows."""

import socket

from protocols.tftp.admission import Address
from protocols.tftp.channel import Owner, ReadChannel
from protocols.tftp.content import OctetContent
from protocols.tftp.events import Download
from protocols.tftp.options import Terms
from protocols.tftp.wire import Request
from storage.image import Image


class PlainPath:
    """The data path that is a channel for each transfer."""

    def __init__(self, server: Owner, pumps: int) -> None:
        self._server = server

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """The channels end by themselves."""

    def open(self, sock: socket.socket, peer: Address, request: Request, terms: Terms, image: Image) -> ReadChannel:
        """As `PumpedPath.open`."""
        content = OctetContent(image.size, terms.blksize)
        return ReadChannel(self._server, sock, peer, request, terms, image, content)

    def downloads(self) -> list[Download]:
        """None but the channels' own."""
        return []
