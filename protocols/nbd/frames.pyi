"""NBD's transmission as C: requests checked and replies built where they lie, without Python objects."""

from protocols.nbd.handshake import Agreement
from protocols.nbd.limits import NbdLimits

def refusal_of(header: bytes, agreement: Agreement, limits: NbdLimits) -> int:
    """The error that a request's 28 bytes are refused with, 0 for none.

    Raises: ValueError when they are no request.
    """

def reply_to_read(header: bytes, data: bytes, agreement: Agreement, limits: NbdLimits) -> bytes:
    """The reply to a READ whose data was read. Raises: ValueError when `header` is no READ of `len(data)` bytes."""
