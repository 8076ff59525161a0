"""What the native pump tells the endpoint, in batches: values only."""

from dataclasses import dataclass

from protocols.tftp.transfer import Outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """A transfer is over; `seat` is no more. `size` is the payload bytes that arrived, `resent` counts datagrams.

    `errno` is the system's error where the file could not be read, else 0.
    """

    seat: int
    outcome: Outcome
    size: int
    resent: int
    errno: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Something happened `number` times since it was last told: a key of the server's counts."""

    name: str
    number: int


PumpEvent = Ended | Counted
