"""The checksums of images: made by a background job, remembered on disk, served as NAME.md5 and NAME.sha256.

One image is read at a time, in slices, by a thread that gives way to all else, and that rests after each while clients
are served; an image that a client asks for comes first. What was made is remembered by what the file system says of
the image's file, so that a restart reads nothing again. An image that is being written to has no checksums until that
is over. One that is there in compressed form only is unpacked for them, piece by piece, into nothing.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from errno import EBUSY

import structlog

from appliance.images.catalog import Catalog, Entry
from appliance.images.identity import Identity, identify
from appliance.images.memory import Memory, Sums
from appliance.images.packed import PackedImage, PackedReading
from storage.errors import StorageError

SLICE = 16 << 20  # bytes hashed in one go: some 50 ms, after which another image may overtake
CHUNK = 1 << 20  # bytes read at a time
REST_SECONDS = 1.0  # after a slice that nobody asked for, while clients are served: their disk is ours, too
PROGRESS_SECONDS = 10.0  # between two lines in the log about one image
# Nice: no client should wait for what is only hashed ahead. Not SCHED_IDLE: who is kept from running for long while he
# has the interpreter's lock keeps all others from it.
LEAST_URGENT = 19

Summed = Entry | PackedImage

log = structlog.get_logger()


class Reading:
    """An image on its way through both sums."""

    __slots__ = ("_image", "_md5", "_sha256", "at", "began", "told")

    def __init__(self, entry: Entry) -> None:
        self._image = entry.image
        self._md5 = hashlib.md5(usedforsecurity=False)  # KIWI's format; it guards against accidents only
        self._sha256 = hashlib.sha256()
        self.at = 0
        self.began = self.told = time.monotonic()

    def advance(self, length: int) -> Identity | None:
        """Read `length` bytes more; returns what the file is after that. Raises: StorageError, OSError."""
        stop = min(self._image.size, self.at + length)
        while self.at < stop:
            data = self._image.read_at(self.at, min(CHUNK, stop - self.at))
            self._md5.update(data)
            self._sha256.update(data)
            self.at += len(data)
        return identify(self._image.fileno())

    def is_over(self) -> bool:
        """Whether all of the image was read."""
        return self.at == self._image.size

    def sums(self) -> Sums:
        """Of what was read."""
        return Sums(self._md5.hexdigest(), self._sha256.hexdigest(), self.at)


@dataclass(slots=True)
class _State:
    """What is known of one image's sums, all of it about the same `content` of its file."""

    content: Identity | None
    sums: Sums | None = None
    reading: Reading | PackedReading | None = None
    failure: OSError | StorageError | None = None
    is_restless: bool = False  # it was written to between the last two looks, or since
    waiting: list[asyncio.Future[Sums]] = field(default_factory=list)

    def is_wanted(self) -> bool:
        """Whether it is to be read, from the start or on."""
        return self.sums is None and self.failure is None and not self.is_restless

    def answer(self) -> None:
        """Tell those who wait; who has left needs no answer."""
        for each in self.waiting:
            if each.done():
                continue
            if self.sums is not None:
                each.set_result(self.sums)
            elif self.failure is not None:
                each.set_exception(self.failure)
        self.waiting.clear()


class Checksums:
    """The sums of every image, known or on their way; `run` makes them."""

    def __init__(self, catalog: Catalog, memory: Memory, *, is_serving: Callable[[], bool] = lambda: False) -> None:
        """The sums are made in the order of `catalog`; `is_serving`: whether clients load or read."""
        self._is_serving = is_serving
        self._catalog = catalog
        self._memory = memory
        self._remembered = memory.load()
        self._states: dict[str, _State] = {}
        self._wake = asyncio.Event()

    def known(self, name: str) -> Sums | None:
        """The sums of the image of that name, if they are known."""
        state = self._states.get(name)
        return state.sums if state else None

    def hashed(self, name: str) -> int:
        """How many bytes of an image were read so far."""
        state = self._states.get(name)
        return state.reading.at if state and state.reading else 0

    def is_restless(self, name: str) -> bool:
        """Whether the image of that name is being written to."""
        state = self._states.get(name)
        return state is not None and state.is_restless

    async def get(self, entry: Summed) -> Sums:
        """The image's sums, as soon as they are made.

        Raises: StorageError or OSError when it can't be read, StorageError with EBUSY when it is being written to.
        """
        state = self._state(entry)
        if state.sums is not None:
            return state.sums
        if state.is_restless:
            raise _busy(entry)
        state.failure = None  # of a disk: it may have passed
        made: asyncio.Future[Sums] = asyncio.get_running_loop().create_future()
        state.waiting.append(made)
        self._wake.set()
        return await made

    def look(self, identities: Mapping[str, Identity | None]) -> None:
        """Take up new images, and what the files of all are now; to be called again and again.

        An image that was written to is read anew once it stayed the same from one call to the next.
        """
        for entry in self._all():
            state = self._state(entry)
            now = entry.identity if isinstance(entry, PackedImage) else identities.get(entry.name, state.content)
            if now != state.content:
                state.content, state.sums, state.reading, state.failure = now, None, None, _busy(entry)
                state.is_restless = True
                state.answer()
            elif state.is_restless:
                state.is_restless, state.failure = False, None
        self._wake.set()

    async def run(self) -> None:
        """Make what is missing, until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="checksums", initializer=_give_way) as thread:
            while True:
                self._wake.clear()
                entry = self._next()
                if entry is None:
                    await self._wake.wait()
                    continue
                state = self._state(entry)
                state.reading = reading = state.reading or _begin(entry)
                try:
                    content = await loop.run_in_executor(thread, reading.advance, SLICE)
                except (OSError, StorageError) as failure:
                    self._fail(entry, state, failure)
                    continue
                if state.reading is not reading:
                    continue  # it was written to meanwhile
                if content != state.content:
                    state.reading, state.is_restless = None, True
                elif reading.is_over():
                    self._settle(entry, state, reading)
                    await loop.run_in_executor(thread, self._memory.save, self._rememberable())
                else:
                    _tell_progress(entry, reading)
                if self._is_serving() and not self._is_asked():
                    await self._rest()

    def _is_asked(self) -> bool:
        return any(state.waiting for state in self._states.values())

    async def _rest(self) -> None:
        """Let clients have the disk, until somebody asks for sums or some time has passed."""
        self._wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                await self._wake.wait()

    def _all(self) -> list[Summed]:
        return [*self._catalog, *self._catalog.packed]

    def _state(self, entry: Summed) -> _State:
        state = self._states.get(entry.name)
        if state is None:
            state = self._states[entry.name] = _State(entry.identity)
            content, sums = self._remembered.get(entry.name, (None, None))
            if content is not None and content == entry.identity:
                state.sums = sums
        return state

    def _next(self) -> Summed | None:
        """The image to go on with: one that is asked for, one that was begun, else the first."""
        states = [(entry, self._state(entry)) for entry in self._all()]
        wanted = [(not state.waiting, state.reading is None, entry) for entry, state in states if state.is_wanted()]
        return min(wanted, key=lambda rank: rank[:2], default=(True, True, None))[2]

    def _fail(self, entry: Summed, state: _State, failure: OSError | StorageError) -> None:
        log.error("checksum_failed", image=entry.name, reason=str(failure))
        state.reading, state.failure = None, failure
        state.answer()

    def _settle(self, entry: Summed, state: _State, reading: Reading | PackedReading) -> None:
        state.sums, state.reading = reading.sums(), None
        seconds = round(time.monotonic() - reading.began, 3)
        log.info(
            "checksum_made", image=entry.name, bytes=state.sums.unpacked, seconds=seconds, sha256=state.sums.sha256
        )
        state.answer()

    def _rememberable(self) -> dict[str, tuple[Identity, Sums]]:
        states = [(entry.name, self._state(entry)) for entry in self._all()]
        return {name: (s.content, s.sums) for name, s in states if s.content is not None and s.sums is not None}


def _begin(entry: Summed) -> Reading | PackedReading:
    return PackedReading(entry) if isinstance(entry, PackedImage) else Reading(entry)


def _busy(entry: Summed) -> StorageError:
    return StorageError(f"{entry.name} is being written to: it has no checksum yet", EBUSY)


def _tell_progress(entry: Summed, reading: Reading | PackedReading) -> None:
    now = time.monotonic()
    if now - reading.told >= PROGRESS_SECONDS:
        reading.told = now
        log.info("checksum_progressed", image=entry.name, bytes=reading.at, of=entry.size)


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, LEAST_URGENT)  # 0: of this thread, on Linux
