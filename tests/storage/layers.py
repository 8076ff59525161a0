"""Layers once more in plain Python, and what their tests share: a base, changes, a model of what comes of them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import EIO, ENOSPC, ENXIO
from typing import Protocol

from typing_extensions import Buffer

from storage.errors import StorageError
from storage.image import BytesImage, Image
from storage.layer import LayerImage

CLUSTER = 4096
SECTOR = 512
CLUSTERS = 40
SIZE = CLUSTERS * CLUSTER - 1536  # the last cluster is no whole one
BASE_SIZE = SIZE - 5 * CLUSTER - 100  # and the base ends inside a cluster
BASE = random.Random(7).randbytes(BASE_SIZE)
MAP_START = CLUSTERS * CLUSTER
HEADER_START = MAP_START + CLUSTER


def shared_base() -> Image:
    """The image that layers are made over."""
    return BytesImage(BASE)


class Layer(Protocol):
    """What the native layer and its twin both are."""

    @property
    def size(self) -> int: ...
    @property
    def quota(self) -> int: ...
    @property
    def used(self) -> int: ...
    def read_at(self, offset: int, length: int) -> bytes: ...
    def write_at(self, offset: int, data: Buffer) -> None: ...
    def punch_at(self, offset: int, length: int) -> bool: ...
    def sync(self) -> None: ...
    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]: ...


class TwinLayer:
    """A layer as a set of clusters that are its own and a set of those that take room."""

    def __init__(self, store: Image, *, size: int, quota: int | None = None, base: Image | None = None) -> None:
        self.store, self.size, self.base = store, size, base
        self.clusters = -(-size // CLUSTER)
        self.quota = self.clusters * CLUSTER if quota is None else quota
        self._has_failed = False
        self._filled = {n for n in range(self.clusters) if not self._is_hole(n)}
        self._own = set(range(self.clusters))
        if base is not None:
            bits = int.from_bytes(store.read_at(self.clusters * CLUSTER, CLUSTER), "little")
            self._own = {n for n in range(self.clusters) if bits >> n & 1}
        for number in self._filled - self._own:
            store.punch_at(number * CLUSTER, CLUSTER)
        self._filled &= self._own

    def _is_hole(self, number: int) -> bool:
        length = min(CLUSTER, self.size - number * CLUSTER)
        return all(is_hole for _, is_hole in self.store.extents(number * CLUSTER, length))

    @property
    def used(self) -> int:
        """Bytes that take room."""
        return len(self._filled) * CLUSTER

    def _require_inside(self, offset: int, length: int) -> None:
        if offset + length > self.size:
            raise StorageError("outside", ENXIO)

    def _cluster(self, number: int) -> bytes:
        length = min(CLUSTER, self.size - number * CLUSTER)
        if number in self._own:
            return self.store.read_at(number * CLUSTER, length)
        assert self.base is not None
        there = max(0, min(length, self.base.size - number * CLUSTER))
        return (self.base.read_at(number * CLUSTER, there) if there else b"").ljust(length, b"\0")

    def _touched(self, offset: int, length: int) -> range:
        return range(offset // CLUSTER, -(-(offset + length) // CLUSTER)) if length else range(0)

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        self._require_inside(offset, length)
        touched = self._touched(offset, length)
        start = offset - touched.start * CLUSTER
        return b"".join(map(self._cluster, touched))[start : start + length]

    def write_at(self, offset: int, data: Buffer) -> None:
        """Whole clusters, each read before."""
        content = bytes(data)
        self._require_inside(offset, len(content))
        touched = self._touched(offset, len(content))
        if self.used + len(set(touched) - self._filled) * CLUSTER > max(self.quota, self.used):
            raise StorageError("no room", ENOSPC)
        for number in touched:
            whole = bytearray(self._cluster(number))
            start = max(offset, number * CLUSTER)
            end = min(offset + len(content), number * CLUSTER + len(whole))
            whole[start - number * CLUSTER : end - number * CLUSTER] = content[start - offset : end - offset]
            self.store.write_at(number * CLUSTER, whole)
        self._filled |= set(touched)
        self._own |= set(touched)

    def punch_at(self, offset: int, length: int) -> bool:
        """Zeros, and no room for whole clusters; parts of clusters that are holes stay holes."""
        self._require_inside(offset, length)
        for number in self._touched(offset, length):
            start, end = number * CLUSTER, min(self.size, (number + 1) * CLUSTER)
            if offset <= start and end <= offset + length:
                self.store.punch_at(start, end - start)
                self._filled.discard(number)
                self._own.add(number)
            elif number in self._filled or number not in self._own:
                first, last = max(start, offset), min(end, offset + length)
                self.write_at(first, bytes(last - first))
        return True

    def sync(self) -> None:
        """The data, then the map."""
        if self._has_failed:
            raise StorageError("a flush has failed", EIO)
        self._has_failed = True
        self.store.sync()
        if self.base is not None:
            bits = sum(1 << n for n in self._own)
            self.store.write_at(self.clusters * CLUSTER, bits.to_bytes(CLUSTER, "little"))
            self.store.sync()
        self._has_failed = False

    def extents(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """Of the store or the base, a cluster at a time."""
        runs: list[tuple[int, bool]] = []
        for number in self._touched(offset, length):
            start = max(offset, number * CLUSTER)
            end = min(offset + length, (number + 1) * CLUSTER)
            if number in self._own:
                runs += self.store.extents(start, end - start)
            elif self.base is not None:
                there = min(end, max(start, self.base.size))
                runs += self.base.extents(start, there - start) + [(end - there, True)] * (end > there)
        return runs


LAYERS: Sequence[Callable[..., Layer]] = [LayerImage, TwinLayer]


@dataclass(frozen=True)
class Change:
    """One thing that a client does: a write of some bytes over and over, a hole, or a flush."""

    kind: str  # write, punch, sync
    offset: int = 0
    length: int = 0
    mark: int = 0

    def apply(self, layer: Layer) -> None:
        """Do it to a layer."""
        if self.kind == "write":
            layer.write_at(self.offset, bytes([self.mark]) * self.length)
        elif self.kind == "punch":
            layer.punch_at(self.offset, self.length)
        else:
            layer.sync()

    def model(self, content: bytearray) -> None:
        """Do it to what the layer should read as."""
        fill = self.mark if self.kind == "write" else 0
        content[self.offset : self.offset + self.length] = bytes([fill]) * self.length


def changes(seed: int, count: int) -> list[Change]:
    """What a client might do: in whole sectors and not, over few clusters so that much is written twice."""
    rng = random.Random(seed)
    made = []
    for mark in range(count):
        offset = rng.randrange(SIZE)
        length = min(SIZE - offset, rng.choice([100, SECTOR, CLUSTER, 3 * CLUSTER, 7777]))
        kind = rng.choices(["write", "punch", "sync"], [5, 1, 2])[0]
        made.append(Change(kind) if kind == "sync" else Change(kind, offset, length, mark % 250 + 1))
    return made
