"""storage.image: the native images and their plain twins pass the same tests."""

import errno
import gc
import os
import random
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import storage.image
from storage.errors import StorageError
from storage.image import HAS_CACHESTAT, FileImage
from tests.storage import twin

BLOCK = 4096  # bytes: what holes are made of on any file system here
GIGABYTE = 1 << 30
CONTENT = random.Random(88).randbytes(3 * BLOCK + 77)


@pytest.fixture(params=[storage.image, twin], ids=["native", "twin"])
def images(request: pytest.FixtureRequest) -> ModuleType:
    """The module whose images are tested."""
    module: ModuleType = request.param
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of some blocks and a bit."""
    place = tmp_path / "image"
    place.write_bytes(CONTENT)
    return place


def errno_of(action: Callable[[], object]) -> int:
    """The errno of the StorageError that an action must raise."""
    with pytest.raises(StorageError) as raised:
        action()
    return raised.value.errno


def sparse(place: Path, size: int, *pieces: tuple[int, bytes]) -> Path:
    """A file of holes with some bytes in it."""
    with place.open("wb") as file:
        file.truncate(size)
        for offset, data in pieces:
            os.pwrite(file.fileno(), data, offset)
    return place


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


class TestFileImage:
    """A file on disk."""

    def test_facts(self, images: ModuleType, path: Path) -> None:
        """Size, path, descriptor; read-only unless asked."""
        image = images.FileImage(path)
        assert (image.size, image.writable, image.path) == (len(CONTENT), False, str(path))
        assert os.fstat(image.fileno()).st_ino == path.stat().st_ino

    def test_takes_text_as_path(self, images: ModuleType, path: Path) -> None:
        """As open() does."""
        assert images.FileImage(str(path)).path == str(path)

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 0), (0, 1), (0, len(CONTENT)), (BLOCK - 1, 2), (BLOCK, BLOCK), (len(CONTENT) - 1, 1), (len(CONTENT), 0)],
    )
    def test_reads(self, images: ModuleType, path: Path, offset: int, length: int) -> None:
        """At the start, over block boundaries, at the very end; nothing at the end is fine too."""
        assert images.FileImage(path).read_at(offset, length) == CONTENT[offset : offset + length]

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (len(CONTENT), 1),
            (len(CONTENT) + 1, 0),
            (0, len(CONTENT) + 1),
            (len(CONTENT) - 1, 2),
            (1 << 63, 1),
            ((1 << 64) - 1, 1),
            (1, (1 << 64) - 1),
            ((1 << 64) - 1, (1 << 64) - 1),
        ],
    )
    def test_ranges_that_leave_it(self, images: ModuleType, path: Path, offset: int, length: int) -> None:
        """ENXIO, also where offset and length together wrap around 64 bits."""
        image = images.FileImage(path, writable=True)
        assert errno_of(lambda: image.read_at(offset, length)) == errno.ENXIO
        assert errno_of(lambda: image.read_at_now(offset, length)) == errno.ENXIO
        assert errno_of(lambda: image.extents(offset, length)) == errno.ENXIO

    def test_places(self, images: ModuleType, path: Path) -> None:
        """All of it is the file's, as it is; a layer has what is below it, and nothing where it adds something."""
        image = images.FileImage(path)
        padded = images.PaddedImage(image, multiple=1 << 20)
        assert image.place_at(BLOCK, 5) == padded.place_at(BLOCK, 5) == (image.fileno(), BLOCK)
        assert padded.place_at(image.size - 1, 2) is None
        assert images.BytesImage(b"bytes").place_at(0, 5) is None
        assert errno_of(lambda: image.place_at(image.size, 1)) == errno.ENXIO

    @pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1), (1 << 64, 1), (0, 1 << 64)])
    def test_numbers_that_are_no_offsets(self, images: ModuleType, path: Path, offset: int, length: int) -> None:
        """Negative or beyond 64 bits: the caller's bug, as OverflowError."""
        image = images.FileImage(path)
        for action in (image.read_at, image.read_at_now, image.extents):
            with pytest.raises(OverflowError):
                action(offset, length)

    def test_reads_from_memory_once_it_is_there(self, images: ModuleType, path: Path) -> None:
        """What was just read needs no waiting."""
        image = images.FileImage(path)
        image.read_at(0, len(CONTENT))
        assert image.read_at_now(5, BLOCK) == CONTENT[5 : 5 + BLOCK]

    def test_reads_too_large_at_once(self, images: ModuleType, tmp_path: Path) -> None:
        """One read is bounded, whatever a client asks for."""
        image = images.FileImage(sparse(tmp_path / "big", GIGABYTE))
        assert len(image.read_at(0, 64 << 20)) == 64 << 20
        assert errno_of(lambda: image.read_at(0, (64 << 20) + 1)) == errno.ENXIO
        assert errno_of(lambda: image.read_at_now(0, (64 << 20) + 1)) == errno.ENXIO

    def test_a_file_that_becomes_shorter(self, images: ModuleType, path: Path) -> None:
        """EIO for what is gone; what is left is still read; the size stays as it was."""
        image = images.FileImage(path)
        os.truncate(path, BLOCK)
        assert image.size == len(CONTENT)
        assert image.read_at(0, BLOCK) == CONTENT[:BLOCK]
        assert errno_of(lambda: image.read_at(BLOCK - 1, 2)) == errno.EIO
        assert errno_of(lambda: image.read_at(2 * BLOCK, 1)) == errno.EIO
        assert errno_of(lambda: image.read_at_now(BLOCK - 1, 2)) == errno.EIO

    def test_a_file_that_becomes_longer(self, images: ModuleType, path: Path) -> None:
        """The image is what it was when opened."""
        image = images.FileImage(path)
        with path.open("ab") as file:
            file.write(b"more")
        assert errno_of(lambda: image.read_at(len(CONTENT), 1)) == errno.ENXIO

    def test_beyond_four_gigabytes(self, images: ModuleType, tmp_path: Path) -> None:
        """Offsets are 64 bits wide all the way."""
        marks = [(4 * GIGABYTE - 2, b"wxyz"), (5 * GIGABYTE - 3, b"end")]
        image = images.FileImage(sparse(tmp_path / "big", 5 * GIGABYTE, *marks))
        assert image.size == 5 * GIGABYTE
        assert image.read_at(4 * GIGABYTE - 3, 6) == b"\0wxyz\0"
        assert image.read_at(5 * GIGABYTE - 3, 3) == b"end"
        assert errno_of(lambda: image.read_at(5 * GIGABYTE, 1)) == errno.ENXIO

    def test_writes(self, images: ModuleType, path: Path) -> None:
        """Over a block boundary, from any kind of buffer; seen by readers and in the file."""
        image = images.FileImage(path, writable=True)
        image.write_at(BLOCK - 2, b"abcd")
        image.write_at(0, bytearray(b"ef"))
        image.write_at(2, memoryview(b"ghij")[1:3])
        image.sync()
        assert image.read_at(BLOCK - 2, 4) == b"abcd"
        assert path.read_bytes() == b"efhi" + CONTENT[4 : BLOCK - 2] + b"abcd" + CONTENT[BLOCK + 2 :]

    def test_writes_never_grow_it(self, images: ModuleType, path: Path) -> None:
        """ENXIO past the end, and not one byte of it is written."""
        image = images.FileImage(path, writable=True)
        assert errno_of(lambda: image.write_at(len(CONTENT) - 1, b"ab")) == errno.ENXIO
        assert errno_of(lambda: image.write_at((1 << 64) - 1, b"ab")) == errno.ENXIO
        assert path.read_bytes() == CONTENT

    def test_writes_of_nothing(self, images: ModuleType, path: Path) -> None:
        """Are fine inside, and at the end."""
        image = images.FileImage(path, writable=True)
        image.write_at(0, b"")
        image.write_at(len(CONTENT), b"")
        assert path.read_bytes() == CONTENT

    def test_read_only_means_it(self, images: ModuleType, path: Path) -> None:
        """EROFS whatever is written; a sync is fine."""
        image = images.FileImage(path)
        for data in (b"x", b"", bytes(len(CONTENT) + 1)):
            assert errno_of(lambda data=data: image.write_at(0, data)) == errno.EROFS  # type: ignore[misc]
        image.sync()
        assert path.read_bytes() == CONTENT

    def test_what_is_no_data(self, images: ModuleType, path: Path) -> None:
        """Text and None can't be written."""
        image = images.FileImage(path, writable=True)
        for data in ("text", None):
            with pytest.raises(TypeError):
                image.write_at(0, data)

    def test_extents(self, images: ModuleType, tmp_path: Path) -> None:
        """Hole, data, hole, data, hole: as the file is, and cut as asked."""
        data = bytes([7]) * BLOCK
        image = images.FileImage(sparse(tmp_path / "holes", 16 * BLOCK, (4 * BLOCK, data), (8 * BLOCK, data)))
        runs = [(4 * BLOCK, True), (BLOCK, False), (3 * BLOCK, True), (BLOCK, False), (7 * BLOCK, True)]
        assert image.extents(0, 16 * BLOCK) == runs
        assert image.extents(4 * BLOCK - 1, 3) == [(1, True), (2, False)]
        assert image.extents(4 * BLOCK + 10, 20) == [(20, False)]
        assert image.extents(9 * BLOCK, 7 * BLOCK) == [(7 * BLOCK, True)]
        assert image.extents(5, 0) == []

    def test_extents_of_one_kind(self, images: ModuleType, path: Path, tmp_path: Path) -> None:
        """All data, all hole, nothing."""
        assert images.FileImage(path).extents(0, len(CONTENT)) == [(len(CONTENT), False)]
        hole = images.FileImage(sparse(tmp_path / "hole", BLOCK))
        assert hole.extents(0, BLOCK) == [(BLOCK, True)]
        assert images.FileImage(sparse(tmp_path / "empty", 0)).extents(0, 0) == []

    def test_extents_leave_reading_alone(self, images: ModuleType, path: Path) -> None:
        """They seek; reads do not care where the descriptor stands."""
        image = images.FileImage(path)
        image.extents(0, len(CONTENT))
        assert image.read_at(0, 10) == CONTENT[:10]

    def test_version_changes_with_the_content(self, images: ModuleType, path: Path) -> None:
        """Same content, same token; another time, size or file, another; and it is fit for an ETag."""
        first = images.FileImage(path).version
        assert images.FileImage(path).version == first
        os.utime(path, ns=(1, 1))
        second = images.FileImage(path).version
        path.write_bytes(CONTENT + b"x")
        third = images.FileImage(path).version
        assert len({first, second, third}) == 3
        assert all(0x21 <= ord(character) < 0x7F and character != '"' for character in first)

    def test_what_is_no_image(self, images: ModuleType, tmp_path: Path) -> None:
        """Folders, pipes (without hanging) and devices that are no disks."""
        os.mkfifo(tmp_path / "pipe")
        for place in (tmp_path / "pipe", Path("/dev/null")):
            assert errno_of(lambda place=place: images.FileImage(place)) == errno.EIO  # type: ignore[misc]
        with pytest.raises((StorageError, IsADirectoryError)):
            images.FileImage(tmp_path)

    def test_what_is_not_there(self, images: ModuleType, tmp_path: Path) -> None:
        """The kernel's own error."""
        with pytest.raises(FileNotFoundError):
            images.FileImage(tmp_path / "none")

    def test_descriptors_are_given_back(self, images: ModuleType, path: Path, tmp_path: Path) -> None:
        """By an image that goes, and by one that never came to be."""
        os.mkfifo(tmp_path / "pipe")
        before = open_descriptors()
        for _ in range(10):
            images.FileImage(path).read_at(0, 1)
            with pytest.raises(StorageError):
                images.FileImage(tmp_path / "pipe")
        assert open_descriptors() == before

    def test_many_threads_at_once(self, images: ModuleType, path: Path) -> None:
        """Reads from eight threads never mix."""
        image = images.FileImage(path)
        ranges = [(offset, min(700, len(CONTENT) - offset)) for offset in range(0, len(CONTENT), 13)]
        with ThreadPoolExecutor(8) as threads:
            read = list(threads.map(lambda place: image.read_at(*place), ranges))
        assert read == [CONTENT[offset : offset + length] for offset, length in ranges]

    def test_threads_that_write_beside_each_other(self, images: ModuleType, tmp_path: Path) -> None:
        """Each its own block, all at once."""
        image = images.FileImage(sparse(tmp_path / "file", 64 * 512), writable=True)
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: image.write_at(n * 512, bytes([n]) * 512), range(64)))
        assert image.read_at(0, 64 * 512) == b"".join(bytes([n]) * 512 for n in range(64))


class TestBytesImage:
    """Bytes in memory."""

    def test_facts(self, images: ModuleType) -> None:
        """Size and content; never writable."""
        image = images.BytesImage(CONTENT)
        assert (image.size, image.writable, image.content) == (len(CONTENT), False, CONTENT)

    @settings(deadline=None)
    @given(st.integers(0, len(CONTENT)), st.integers(0, len(CONTENT)))
    @pytest.mark.parametrize("module", [storage.image, twin], ids=["native", "twin"])
    def test_reads_are_slices(self, module: ModuleType, offset: int, length: int) -> None:
        """Any range inside is a slice, at once or now; any other is ENXIO."""
        image = module.BytesImage(CONTENT)
        if offset + length <= len(CONTENT):
            assert image.read_at(offset, length) == image.read_at_now(offset, length)
            assert image.read_at(offset, length) == CONTENT[offset : offset + length]
        else:
            assert errno_of(lambda: image.read_at(offset, length)) == errno.ENXIO

    def test_refuses_writes(self, images: ModuleType) -> None:
        """EROFS; a sync is fine."""
        image = images.BytesImage(CONTENT)
        assert errno_of(lambda: image.write_at(0, b"x")) == errno.EROFS
        image.sync()
        assert image.content == CONTENT

    def test_empty(self, images: ModuleType) -> None:
        """Nothing can be read of it, which is fine."""
        image = images.BytesImage(b"")
        assert (image.size, image.read_at(0, 0), image.extents(0, 0)) == (0, b"", [])

    def test_extents(self, images: ModuleType) -> None:
        """All of it is data, zeros or not."""
        assert images.BytesImage(bytes(100)).extents(10, 50) == [(50, False)]

    def test_version_is_of_the_content(self, images: ModuleType) -> None:
        """Equal bytes have equal tokens: a menu generated anew is not fetched anew."""
        assert images.BytesImage(b"a").version == images.BytesImage(bytes([97])).version
        assert images.BytesImage(b"a").version != images.BytesImage(b"b").version

    def test_only_bytes(self, images: ModuleType) -> None:
        """What could change under it, or is text, is refused."""
        for content in ("text", bytearray(b"x"), None):
            with pytest.raises(TypeError):
                images.BytesImage(content)


class TestPaddedImage:
    """Zeros up to whole sectors."""

    @pytest.mark.parametrize(
        ("size", "multiple", "padded"), [(0, 512, 0), (1, 512, 512), (512, 512, 512), (513, 512, 1024), (77, 1, 77)]
    )
    def test_sizes(self, images: ModuleType, size: int, multiple: int, padded: int) -> None:
        """Rounded up, never beyond."""
        base = images.BytesImage(CONTENT[:size])
        image = images.PaddedImage(base, multiple=multiple)
        assert (image.size, image.version, image.writable) == (padded, base.version, False)
        assert image.base is base
        assert image.read_at(0, padded) == CONTENT[:size].ljust(padded, b"\0")

    @pytest.mark.parametrize("multiple", [0, 3, 511, 513, 1000])
    def test_multiples_that_are_none(self, images: ModuleType, multiple: int) -> None:
        """Only powers of two are sectors."""
        with pytest.raises(ValueError, match="power of two"):
            images.PaddedImage(images.BytesImage(b""), multiple=multiple)

    @settings(deadline=None)
    @given(st.integers(0, 2048), st.integers(0, 2048), st.integers(0, 1600))
    @pytest.mark.parametrize("module", [storage.image, twin], ids=["native", "twin"])
    def test_reads_are_slices_of_the_whole(self, module: ModuleType, offset: int, length: int, size: int) -> None:
        """Inside the base, over its end, behind it."""
        image = module.PaddedImage(module.BytesImage(CONTENT[:size]), multiple=512)
        whole = CONTENT[:size].ljust(image.size, b"\0")
        if offset + length <= image.size:
            assert image.read_at(offset, length) == whole[offset : offset + length]
            assert image.read_at_now(offset, length) == whole[offset : offset + length]
        else:
            assert errno_of(lambda: image.read_at(offset, length)) == errno.ENXIO

    def test_over_a_file(self, images: ModuleType, path: Path) -> None:
        """Layers stack on files as on bytes, and on each other."""
        image = images.PaddedImage(images.PaddedImage(images.FileImage(path), multiple=512), multiple=BLOCK)
        assert image.size == 4 * BLOCK
        assert image.read_at(3 * BLOCK, BLOCK) == CONTENT[3 * BLOCK :].ljust(BLOCK, b"\0")
        assert image.extents(2 * BLOCK, 2 * BLOCK)[-1][1] is True
        assert sum(length for length, _ in image.extents(0, 4 * BLOCK)) == 4 * BLOCK

    def test_a_base_that_becomes_shorter(self, images: ModuleType, path: Path) -> None:
        """Its loss is not papered over with zeros: EIO."""
        image = images.PaddedImage(images.FileImage(path), multiple=512)
        os.truncate(path, BLOCK)
        assert errno_of(lambda: image.read_at(0, image.size)) == errno.EIO
        assert image.read_at(len(CONTENT), image.size - len(CONTENT)) == bytes(image.size - len(CONTENT))

    def test_refuses_writes(self, images: ModuleType, path: Path) -> None:
        """Also over a base that would take them."""
        image = images.PaddedImage(images.FileImage(path, writable=True), multiple=512)
        assert errno_of(lambda: image.write_at(0, b"x")) == errno.EROFS

    def test_extents(self, images: ModuleType) -> None:
        """The padding is a hole."""
        image = images.PaddedImage(images.BytesImage(bytes(500)), multiple=512)
        assert image.extents(0, 512) == [(500, False), (12, True)]
        assert image.extents(505, 7) == [(7, True)]
        assert image.extents(0, 500) == [(500, False)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=8),
    st.integers(0, 16 * BLOCK),
    st.integers(0, 16 * BLOCK),
)
def test_twins_see_the_same_holes(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[tuple[int, bool]], first: int, second: int
) -> None:
    """Any pattern of blocks, any range: native and twin agree, run by run."""
    pieces = [(block * BLOCK, bytes(BLOCK) if is_zero else b"x" * BLOCK) for block, is_zero in blocks]
    place = sparse(tmp_path_factory.mktemp("holes") / "file", 16 * BLOCK, *pieces)
    offset, end = sorted((first, second))
    native, plain = storage.image.FileImage(place), twin.FileImage(place)
    assert native.extents(offset, end - offset) == plain.extents(offset, end - offset)
    assert native.version == plain.version
    assert storage.image.BytesImage(b"x").version == twin.BytesImage(b"x").version


def test_what_is_not_in_memory_is_not_waited_for(path: Path) -> None:
    """Once the kernel was told to forget a file, reading it now is None or, where it did not, the bytes."""
    image = storage.image.FileImage(path, writable=True)
    image.sync()
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert image.read_at_now(0, len(CONTENT)) in (None, CONTENT)
    assert image.read_at(0, len(CONTENT)) == CONTENT


@pytest.mark.root
def test_a_block_device_is_all_data(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """The kernel refuses to look for holes there; its size is that of the device, not of the node."""
    place = sparse(tmp_path / "disk", 16 * BLOCK, (BLOCK, b"x" * BLOCK))
    losetup = tool("losetup")
    done = subprocess.run([losetup, "--find", "--show", str(place)], capture_output=True, text=True, check=True)
    device = done.stdout.strip()
    try:
        image = storage.image.FileImage(device)
        assert image.size == 16 * BLOCK
        assert image.extents(BLOCK, 2 * BLOCK) == [(2 * BLOCK, False)]
        assert image.read_at(BLOCK, 1) == b"x"
    finally:
        subprocess.run([losetup, "--detach", device], check=True)


@pytest.mark.parametrize("has_cachestat", [True, False])
def test_a_file_is_known_to_be_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_cachestat: bool) -> None:
    """By either system call: a warm file, a cold one, one page of it warm again, an odd end, nothing at all."""
    monkeypatch.setattr("storage.image.HAS_CACHESTAT", has_cachestat and HAS_CACHESTAT)
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096 + b"end")
    image = FileImage(path)
    os.fsync(image.fileno())
    assert image.is_cached(0, image.size)
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(image.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert not image.is_cached(0, image.size)
    assert not image.is_cached(image.size - 1, 1)
    assert image.is_cached(5, 0)
    image.read_at(300_000, 10)
    assert image.is_cached(300_000, 10)
    assert not image.is_cached(0, image.size)
    image.read_at(image.size - 3, 3)
    assert image.is_cached(image.size - 1, 1)
    with pytest.raises(StorageError, match="leave the image"):
        image.is_cached(image.size, 1)
