"""What boots read of their roots: which connections are recorded, for how long, and what is kept of it.

A recording is one machine at one image, from its first connection on, over all its connections. It ends with the last
of them, with the machine's next boot, or after some minutes: by then a machine is up, and reads for its user.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from storage.trace import Trace

Run = tuple[int, int, int, int]  # offset, length, nanoseconds since the recording began, reads


@dataclass(frozen=True, slots=True)
class HeatLimits:
    """How much of what boots read is recorded and kept."""

    recordings: int = 64  # at one time, 400 KB each when full; machines past them are not recorded
    connections: int = 16  # of one recording: as many as nbd-client opens for one device
    runs: int = 16384  # of one connection; a boot that reads 1 GB in pieces of 128 KiB has 8192
    seconds: float = 120.0  # of one recording
    boots: int = 64  # that are kept, some 20 KB each; the oldest is forgotten first
    boots_of_one: int = 3  # of one machine at one image: the latest, and two to compare it with


@dataclass(frozen=True, slots=True)
class Recording:
    """What one boot read of its root, in the order in which it did."""

    image: str
    client: str  # the machine's MAC, or its address where that is not known
    began: float  # unix time
    seconds: float  # from then to the end of the recording
    runs: tuple[Run, ...]
    dropped: int  # reads that found no room


@dataclass(slots=True)
class _Tape:
    """A recording under way."""

    began: float  # monotonic
    traces: list[tuple[float, Trace]] = field(default_factory=list)  # with the time each began at
    connections: int = 0  # that are open; AoE has none


class Recorder:
    """Hands out traces, and keeps what is in them once a boot is over."""

    def __init__(
        self,
        limits: HeatLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        identify: Callable[[str], str] = lambda client: client,
        on_recorded: Callable[[Recording], None] = lambda recording: None,
    ) -> None:
        """`on_recorded` gets each recording at its end; `identify` gives the machine behind an address, now.

        Neither blocks or raises.
        """
        self._limits = limits or HeatLimits()
        self._clock = clock
        self._identify = identify
        self._on_recorded = on_recorded
        self._tapes: dict[tuple[str, str], _Tape] = {}  # by image and client
        self._kept: OrderedDict[int, Recording] = OrderedDict()
        self._count = 0

    def open(self, image: str, client: str) -> Trace | None:
        """Where a new connection's reads are to be noted; None when as much is recorded as may be."""
        tape = self._tapes.get((image, client))
        if tape is None:
            if len(self._tapes) >= self._limits.recordings:
                return None
            tape = self._tapes[image, client] = _Tape(self._clock())
        if len(tape.traces) >= self._limits.connections:
            return None
        trace = Trace(self._limits.runs)
        tape.traces.append((self._clock(), trace))
        tape.connections += 1
        return trace

    def close(self, image: str, client: str) -> None:
        """A connection that was opened is gone; the last one's end is that of the recording."""
        tape = self._tapes.get((image, client))
        if tape is not None:
            tape.connections -= 1
            if tape.connections <= 0:
                self._finish((image, client))

    def reboot(self, client: str) -> None:
        """A machine begins to boot: what it read before belongs to another boot."""
        for key in [key for key in self._tapes if self._identify(key[1]) == client]:
            self._finish(key)

    def check(self) -> None:
        """End what went on for long enough; call it about once a second."""
        now = self._clock()
        for key in [key for key, tape in self._tapes.items() if now - tape.began >= self._limits.seconds]:
            self._finish(key)

    def stop(self) -> None:
        """End all of them, as they are."""
        for key in list(self._tapes):
            self._finish(key)

    def recordings(self, image: str, client: str | None = None) -> list[Recording]:
        """Those of an image, and of one client if one is named, oldest first; with those under way as they are now."""
        under_way = [self._recording(key, tape) for key, tape in self._tapes.items() if key[0] == image]
        found = [*self._kept.values(), *(recording for recording in under_way if recording.runs)]
        return [one for one in found if one.image == image and client in (None, one.client)]

    def _finish(self, key: tuple[str, str]) -> None:
        tape = self._tapes.pop(key)
        recording = self._recording(key, tape)
        for _, trace in tape.traces:
            trace.end()
        if recording.runs:
            self._keep(recording)
            self._on_recorded(recording)

    def _keep(self, recording: Recording) -> None:
        self._count += 1
        self._kept[self._count] = recording
        same = (recording.image, recording.client)
        own = [number for number, one in self._kept.items() if (one.image, one.client) == same]
        for number in own[: -self._limits.boots_of_one]:
            del self._kept[number]
        while len(self._kept) > self._limits.boots:
            self._kept.popitem(last=False)

    def _recording(self, key: tuple[str, str], tape: _Tape) -> Recording:
        seconds = self._clock() - tape.began
        return Recording(
            image=key[0],
            client=self._identify(key[1]),
            began=time.time() - seconds,
            seconds=seconds,
            runs=tuple(join_runs((began - tape.began, trace.runs()) for began, trace in tape.traces)),
            dropped=sum(trace.dropped for _, trace in tape.traces),
        )


def join_runs(traces: Iterable[tuple[float, list[Run]]]) -> list[Run]:
    """The runs of several traces, each with the seconds it began after the first, in the order in which they came."""
    joined = [
        (offset, length, at + round(after * 1e9), reads) for after, runs in traces for offset, length, at, reads in runs
    ]
    return sorted(joined, key=lambda run: run[2])
