"""The recorder of reads: what pumps tell it, beside a twin in plain Python."""

import threading
from collections.abc import Callable
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.trace import Trace

MIB = 1 << 20
Noted = list[tuple[int, int, int]]  # offset, length, reads


class Recorder(Protocol):
    """What both are."""

    @property
    def is_over(self) -> bool: ...
    @property
    def dropped(self) -> int: ...
    def __len__(self) -> int: ...
    def note(self, offset: int, length: int) -> None: ...
    def runs(self) -> list[tuple[int, int, int, int]]: ...
    def end(self) -> None: ...


class Twin:
    """Obvious instead of fast; its reads all come at once."""

    def __init__(self, most: int) -> None:
        if most <= 0:
            raise (ValueError if most == 0 else OverflowError)
        self._most = most
        self._runs: list[tuple[int, int, int, int]] = []
        self.is_over, self.dropped = False, 0

    def __len__(self) -> int:
        return len(self._runs)

    def note(self, offset: int, length: int) -> None:
        """Lengthen the last run, or make another."""
        if self.is_over:
            return
        last, size, at, reads = self._runs[-1] if self._runs else (0, MIB + 1, 0, 0)
        if last + size == offset and size + length <= MIB:
            self._runs[-1] = (last, size + length, at, reads + 1)
        elif len(self._runs) == self._most:
            self.dropped += 1
        else:
            self._runs.append((offset, length, 0, 1))

    def runs(self) -> list[tuple[int, int, int, int]]:
        """All of them."""
        return list(self._runs)

    def end(self) -> None:
        """Forget them."""
        self.is_over, self._runs = True, []


def noted(trace: Recorder) -> Noted:
    """Its runs without their times."""
    return [(offset, length, reads) for offset, length, _, reads in trace.runs()]


@pytest.mark.parametrize("make", [Trace, Twin])
class TestTrace:
    """What a recorder does."""

    def test_reads_are_kept_in_order(self, make: Callable[[int], Recorder]) -> None:
        """Whatever their offsets."""
        trace = make(8)
        for offset in (8192, 0, 65536):
            trace.note(offset, 512)
        assert noted(trace) == [(8192, 512, 1), (0, 512, 1), (65536, 512, 1)]
        assert len(trace) == 3

    def test_what_follows_is_one_run(self, make: Callable[[int], Recorder]) -> None:
        """Up to the length of a run."""
        trace = make(8)
        for offset in range(0, MIB + 4096, 4096):
            trace.note(offset, 4096)
        assert noted(trace) == [(0, MIB, 256), (MIB, 4096, 1)]

    def test_a_repeat_is_a_run_of_its_own(self, make: Callable[[int], Recorder]) -> None:
        """A client that reads the same twice has its page cache dropped: worth seeing."""
        trace = make(8)
        trace.note(0, 512)
        trace.note(0, 512)
        assert noted(trace) == [(0, 512, 1), (0, 512, 1)]

    def test_it_is_bounded(self, make: Callable[[int], Recorder]) -> None:
        """What finds no room is counted; the last run goes on."""
        trace = make(2)
        for offset in (0, 10_000, 20_000, 10_512, 30_000):
            trace.note(offset, 512)
        assert noted(trace) == [(0, 512, 1), (10_000, 1024, 2)]
        assert trace.dropped == 2

    def test_it_ends(self, make: Callable[[int], Recorder]) -> None:
        """And notes nothing any more, without complaint: the pump may not know yet."""
        trace = make(8)
        trace.note(0, 512)
        trace.end()
        trace.note(512, 512)
        assert trace.is_over
        assert (noted(trace), len(trace), trace.dropped) == ([], 0, 0)

    def test_no_room_is_no_trace(self, make: Callable[[int], Recorder]) -> None:
        """Said at once."""
        with pytest.raises(ValueError):
            make(0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 3)), max_size=600), st.integers(1, 400))
def test_it_is_as_its_twin(reads: list[tuple[int, int]], most: int) -> None:
    """Over reads that often follow each other, and bounds that cut."""
    trace, twin = Trace(most), Twin(most)
    for place, length in reads:
        trace.note(place * 4096, length * 4096)
        twin.note(place * 4096, length * 4096)
    assert noted(trace) == noted(twin)
    assert trace.dropped == twin.dropped


def test_times_never_go_back() -> None:
    """They are counted from the trace's beginning."""
    trace = Trace(8)
    for offset in (4096, 0, 8192):
        trace.note(offset, 512)
    times = [at for _, _, at, _ in trace.runs()]
    assert times == sorted(times)


def test_it_is_read_and_ended_while_threads_write() -> None:
    """Nothing is torn: every run that is seen is one that was noted."""
    trace, go = Trace(100_000), threading.Barrier(3)

    def write(base: int) -> None:
        go.wait()
        for number in range(5_000):
            trace.note(base + number * 4096, 512)

    threads = [threading.Thread(target=write, args=(base,)) for base in (1 << 40, 1 << 41)]
    for thread in threads:
        thread.start()
    go.wait()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        seen = max(seen, len(trace.runs()))
        assert all((length, reads) == (512, 1) for _, length, _, reads in trace.runs())
    for thread in threads:
        thread.join()
    assert len(trace) == 10_000
    trace.end()
    assert trace.runs() == []
