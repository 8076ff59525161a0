"""What the HTTP server reports of each exchange: its beginning, and its end."""

from collections.abc import Callable
from dataclasses import dataclass

CLIENT_LEFT = 499  # no status of HTTP's: what is reported of an answer that its client did not take to the end


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """An answer or an upload begins; `size` is what it will carry in bytes, -1 for an upload that does not say."""

    client: str
    method: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class RequestFinished:
    """An exchange is over; `size` counts the body bytes carried: fewer than announced when the client left.

    `status` is then 499 (as nginx logs it) whatever the answer began with, or 500 when our file failed in the middle.
    """

    client: str
    method: str
    name: str
    status: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Download:
    """A GET under way: `size` is the body bytes carried so far."""

    client: str
    name: str
    size: int


Report = Callable[[RequestStarted | RequestFinished], None]
