"""What bounds the room."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AoeLimits:
    """What bounds the room; each pump has its share of what is in flight."""

    targets: int = 255  # a broadcast query makes each one answer: the slots of one shelf
    buffers: int = 16  # requests one initiator keeps outstanding at a target, as vblade says it; the kernel caps at 64
    initiators: int = 4096  # accounts of (machine, target): 200 machines at 20 images
    in_flight_per_initiator: int = 64  # cold reads and writes of one machine; buffers of four targets
    in_flight: int = 1024  # of all machines; at MTU 9000 this is 9 MB of frames
    advertised: int = 512  # machines advertised to at one time: a classroom and a spare
    advertise_interval: float = 0.2  # seconds; a driver waits 100 ms on average, five frames a second bother nobody
    adverts_per_interval: int = 512  # frames; with many targets and machines they take turns, so 2,560 a second at most
