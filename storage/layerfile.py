"""Layers on disk: made, found again after a restart, and told from layers over another base.

A blank layer's file is its bytes, nothing else: it can be mounted by a loop device. One with a base has the map behind
them (layer.pyx) and, in its last page, numbers little-endian:

    0            8              12             16      24           32                    64        68
    | "RWLAYER1" | cluster u32  | reserved u32 | size  | base size  | base's fingerprint  | crc32   | zeros

The file's name says which of the two it is, since a blank one's end is for its client to write.
"""

import hashlib
import os
import struct
import zlib
from errno import EBADMSG, ESTALE
from pathlib import Path

from storage.errors import StorageError
from storage.image import FileImage, Image
from storage.layer import LAYER_CLUSTER, LAYER_MAP_PAGE, LayerImage, map_bytes

MAGIC = b"RWLAYER1"
HEADER = struct.Struct("<8sIIQQ32s")
CHECKSUM = struct.Struct("<I")
LAYER_MOST = 1 << 40  # bytes of a layer: its bits, twice in memory, are 64 MiB then
LAYER_MODE = 0o600  # what a machine writes is no other's to read
ENDS = 1 << 20  # bytes at either end of a base that its fingerprint is made of: superblocks, tables, their copies
SAMPLES = 64  # spread over the rest
SAMPLE = 4096  # bytes of each


class BaseChangedError(StorageError):
    """A layer was made over another base than this: together they would be no file system at all."""


def fingerprint(base: Image) -> bytes:
    """32 bytes that tell a base from others and from what it was before; may wait for the disk.

    All of it is not read: that would take minutes. A file system that was changed has another superblock.
    Raises: StorageError as reading does.
    """
    total = hashlib.blake2b(digest_size=32)
    end = min(ENDS, base.size)
    offsets = [(0, end), (base.size - end, end)]
    offsets += [(n * base.size // SAMPLES, min(SAMPLE, base.size - n * base.size // SAMPLES)) for n in range(SAMPLES)]
    for offset, length in offsets:
        total.update(base.read_at(offset, length))
    return total.digest()


def make_layer(path: Path, size: int, *, base: Image | None = None, start: bytes = b"") -> None:
    """Make a new layer of `size` bytes at `path`, in place of what is there, in one step; on disk when this returns.

    `start` is what a blank one begins with. Its folder has to exist. May wait for the disk.
    Raises: ValueError for a size that no layer has, OSError as files do.
    """
    if not len(start) <= size <= LAYER_MOST or size == 0:
        raise ValueError(f"a layer has 1 to {LAYER_MOST} bytes, not {size}")
    header = b"" if base is None else _build_header(size, base)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, LAYER_MODE)
    try:
        end = size if base is None else _header_place(size)
        os.ftruncate(descriptor, end + (LAYER_MAP_PAGE if header else 0))
        os.pwrite(descriptor, start, 0)
        os.pwrite(descriptor, header, end)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.rename(path)
    sync_folder(path.parent)


def open_layer(path: Path, *, quota: int | None = None, base: Image | None = None) -> LayerImage:
    """The layer at `path`, which was made with a base if there is one here; may wait for the disk.

    Raises: OSError as files do, BaseChangedError when it was made over another base, StorageError when it is spoilt.
    """
    store = FileImage(path, writable=True)
    size, made_over = _parse(store, has_base=base is not None)
    if base is not None and made_over != _identity(base):
        raise BaseChangedError(f"{path} was made over another image than its base is now", ESTALE)
    return LayerImage(store, size=size, quota=quota, base=base)


def layer_size(path: Path, *, has_base: bool) -> int:
    """How large the layer at `path` is. Raises: OSError as files do, StorageError when it is spoilt."""
    return _parse(FileImage(path), has_base=has_base)[0]


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are kept. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header_place(size: int) -> int:
    return -(-size // LAYER_CLUSTER) * LAYER_CLUSTER + map_bytes(size)


def _identity(base: Image) -> tuple[int, bytes]:
    return base.size, fingerprint(base)


def _build_header(size: int, base: Image) -> bytes:
    header = HEADER.pack(MAGIC, LAYER_CLUSTER, 0, size, *_identity(base))
    return header + CHECKSUM.pack(zlib.crc32(header))


def _parse(store: FileImage, *, has_base: bool) -> tuple[int, tuple[int, bytes]]:
    """The layer's size, and the identity of what it was made over."""
    if not has_base:
        if not 0 < store.size <= LAYER_MOST:
            raise StorageError(f"{store.path} is no layer: it has {store.size} bytes", EBADMSG)
        return store.size, (0, b"")
    if store.size < LAYER_MAP_PAGE:
        raise StorageError(f"{store.path} is no layer with a base: it is too short", EBADMSG)
    header = store.read_at(store.size - LAYER_MAP_PAGE, HEADER.size + CHECKSUM.size)
    magic, cluster, _, size, base_size, made_over = HEADER.unpack_from(header)
    checksum = CHECKSUM.unpack_from(header, HEADER.size)[0]
    if magic != MAGIC or cluster != LAYER_CLUSTER or checksum != zlib.crc32(header[: HEADER.size]):
        raise StorageError(f"{store.path} is no layer with a base: its header is spoilt", EBADMSG)
    if not 0 < size <= LAYER_MOST or store.size != _header_place(size) + LAYER_MAP_PAGE:
        raise StorageError(f"{store.path} was cut off, or added to", EBADMSG)
    return size, (base_size, made_over)
