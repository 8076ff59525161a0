"""What the native pump tells the endpoint, in batches: values only."""

from dataclasses import dataclass
from typing import Literal

Reason = Literal["sent", "left", "stalled", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A body is over, and the pump has let go of its socket.

    `size` bytes of it were taken by the socket; all of them where `reason` is "sent". `errno` says why a client left,
    or why the image could not be read ("failed"), else it is 0.
    """

    number: int
    size: int
    reason: Reason
    errno: int
