"""storage.squashfs on images that are damaged, or made to do harm: three errors, no crash, no hang, bounded memory."""

import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import squashfs
from storage.image import BytesImage
from storage.squashfs import CorruptError, Kind, OutOfRangeError, SquashfsError, UnsupportedError
from tests.storage.squashfs.exercise import exercise
from tests.storage.squashfs.trees import Tool, make_image

CODECS = ("gzip", "xz", "lzma", "zstd", "lz4", "lzo")
PLAIN = ("-noI", "-noX")  # metadata as it is: damage hits what it says, not what compresses it
MUTATIONS = 400

# Offsets in the superblock.
INODES, BLOCK_SIZE, FRAGMENTS, COMPRESSOR, BLOCK_LOG, IDS, MAJOR = 4, 12, 16, 20, 22, 26, 28
ROOT, USED, ID_TABLE, XATTR_TABLE, INODE_TABLE, DIRECTORY_TABLE, FRAGMENT_TABLE = 32, 40, 48, 56, 64, 72, 80
TABLE_ROWS = [
    (0, "<I", 0x12345678, UnsupportedError),
    (MAJOR, "<H", 3, UnsupportedError),
    (COMPRESSOR, "<H", 0, UnsupportedError),
    (COMPRESSOR, "<H", 7, UnsupportedError),
    (BLOCK_SIZE, "<I", 2048, OutOfRangeError),
    (BLOCK_SIZE, "<I", 1 << 21, OutOfRangeError),
    (BLOCK_SIZE, "<I", 8192, CorruptError),
    (BLOCK_LOG, "<H", 63, CorruptError),
    (USED, "<Q", 1 << 40, OutOfRangeError),
    (USED, "<Q", 96, OutOfRangeError),
    (IDS, "<H", 0, CorruptError),
    (ID_TABLE, "<Q", (1 << 64) - 1, CorruptError),
    (ID_TABLE, "<Q", 1 << 40, OutOfRangeError),
    (INODE_TABLE, "<Q", 0, CorruptError),
    (INODE_TABLE, "<Q", 1 << 63, CorruptError),
    (DIRECTORY_TABLE, "<Q", 1 << 40, CorruptError),
    (FRAGMENT_TABLE, "<Q", 97, CorruptError),
    (ROOT, "<Q", (1 << 64) - 1, OutOfRangeError),
    (ROOT, "<Q", 1 << 40, OutOfRangeError),
    (ROOT, "<Q", 9000, OutOfRangeError),
]


@pytest.fixture(scope="session")
def small_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of everything: small, so that damage hits something."""
    root = tmp_path_factory.mktemp("small") / "tree"
    (root / "sub/sub").mkdir(parents=True)
    (root / "file").write_bytes(b"words " * 3000)
    (root / "noise").write_bytes(random.Random(1).randbytes(6000))
    (root / "sub/tail").write_bytes(b"tail")
    (root / "sub/sub/link").symlink_to("../tail")
    (root / "root-file").touch()
    return root


@pytest.fixture(scope="session")
def pack(tool: Tool, small_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """A function that gives the bytes of the small tree's image, made with some options."""
    made: dict[tuple[str, ...], bytes] = {}

    def image(*options: str) -> bytes:
        if options not in made:
            path = tmp_path_factory.mktemp("packed") / "image"
            made[options] = make_image(tool, small_tree, path, "-b", "4K", "-nopad", *options).read_bytes()
        return made[options]

    return image


def patched(data: bytes, offset: int, form: str, value: int) -> bytes:
    """With a number in place of another."""
    out = bytearray(data)
    struct.pack_into(form, out, offset, value)
    return bytes(out)


def superblock(data: bytes, offset: int) -> int:
    """A 64-bit number of the superblock."""
    (value,) = struct.unpack_from("<Q", data, offset)
    return int(value)


def inode_at(data: bytes, path: str) -> int:
    """Where in an image of plain metadata an inode lies."""
    reference = squashfs.open(BytesImage(data)).lookup(path, follow=False)
    return superblock(data, INODE_TABLE) + (reference >> 16) + 2 + (reference & 0xFFFF)


@pytest.mark.parametrize(("offset", "form", "value", "error"), TABLE_ROWS)
def test_superblock(pack: Callable[..., bytes], offset: int, form: str, value: int, error: type[SquashfsError]) -> None:
    """Each number that can't be is refused when the image is opened."""
    with pytest.raises(error):
        squashfs.open(BytesImage(patched(pack(*PLAIN), offset, form, value)))


@pytest.mark.parametrize("codec", CODECS)
def test_truncated(pack: Callable[..., bytes], codec: str) -> None:
    """At any length: the superblock knows how long it should be."""
    data = pack("-comp", codec)
    for length in range(0, len(data), 37):
        with pytest.raises(SquashfsError):
            squashfs.open(BytesImage(data[:length]))


@pytest.mark.parametrize("codec", CODECS)
def test_truncated_and_says_so(pack: Callable[..., bytes], codec: str) -> None:
    """As above, but the superblock was made to agree."""
    data = pack("-comp", codec)
    for length in range(96, len(data), 37):
        exercise(patched(data[:length], USED, "<Q", length))


@pytest.mark.parametrize("options", [(), PLAIN, (*PLAIN, "-noF", "-noD")], ids=" ".join)
@pytest.mark.parametrize("codec", CODECS)
def test_mutations(pack: Callable[..., bytes], codec: str, options: tuple[str, ...]) -> None:
    """Some bytes of it are others: it is read as far as it can be."""
    data = pack("-comp", codec, *options)
    assert exercise(data) > 8
    source = random.Random(repr((codec, options)))
    for _ in range(MUTATIONS):
        damaged = bytearray(data)
        for _ in range(source.choice((1, 1, 2, 5, 20))):
            damaged[source.randrange(len(data))] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
        exercise(bytes(damaged))


def test_numbers_of_the_metadata(pack: Callable[..., bytes]) -> None:
    """Every number of every table in turn is the least, the largest, and around its sign."""
    data = pack(*PLAIN)
    for offset in range(superblock(data, INODE_TABLE), len(data) - 4):
        for value in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
            exercise(patched(data, offset, "<I", value))


class TestCycles:
    """Directories that lie in themselves."""

    @pytest.fixture
    def looped(self, pack: Callable[..., bytes]) -> bytes:
        """An image whose folder sub/sub is sub."""
        data = pack(*PLAIN)
        image = squashfs.open(BytesImage(data))
        outer, inner = (image.lookup(path) & 0xFFFF for path in ("sub", "sub/sub"))
        entry = struct.pack("<H", inner)
        listing = superblock(data, DIRECTORY_TABLE)
        at = data.index(b"\x01\x00\x02\x00sub", listing, data.index(b"tail", listing)) - 4
        assert data[at : at + 2] == entry
        return patched(data, at, "<H", outer)

    def test_walk_ends(self, looped: bytes) -> None:
        """With an error."""
        with pytest.raises(CorruptError, match="lies in itself"):
            list(squashfs.open(BytesImage(looped)).walk())

    def test_lookup_ends(self, looped: bytes) -> None:
        """Where the path does."""
        image = squashfs.open(BytesImage(looped))
        assert image.lookup("sub/" * 1000) == image.lookup("sub")


class TestBombs:
    """Small images that claim to be large."""

    def test_a_file_of_too_many_blocks(self, pack: Callable[..., bytes]) -> None:
        """Is refused before memory is asked for."""
        data = pack(*PLAIN, "-no-fragments")
        bomb = patched(data, inode_at(data, "file") + 28, "<I", 0xFFFFFFFF)
        image = squashfs.open(BytesImage(bomb))
        tracemalloc.start()
        with pytest.raises(OutOfRangeError):
            image.open_file("file")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 1 << 20

    def test_a_listing_without_end(self, pack: Callable[..., bytes]) -> None:
        """Of 64 KiB in a table of some hundred bytes."""
        data = pack(*PLAIN)
        bomb = patched(data, inode_at(data, "/") + 24, "<H", 0xFFFF)
        with pytest.raises(SquashfsError):
            squashfs.open(BytesImage(bomb)).listdir("/")

    def test_a_target_over_the_limit(self, pack: Callable[..., bytes]) -> None:
        """Of 4 GiB."""
        data = pack(*PLAIN)
        bomb = patched(data, inode_at(data, "sub/sub/link") + 20, "<I", 0xFFFFFFFF)
        with pytest.raises(OutOfRangeError, match="target"):
            squashfs.open(BytesImage(bomb)).readlink("sub/sub/link")


@pytest.mark.parametrize(("name", "bad"), [("tail", "ta/l"), ("tail", "ta\0l"), ("tail", ".\0\0\0")])
def test_names_that_are_paths(pack: Callable[..., bytes], name: str, bad: str) -> None:
    """Never get out of a listing: whoever joins them to a path would be led astray."""
    data = pack(*PLAIN)
    at = data.index(name.encode(), superblock(data, DIRECTORY_TABLE))
    damaged = data[:at] + bad.encode() + data[at + len(name) :]
    with pytest.raises(CorruptError, match="name"):
        squashfs.open(BytesImage(damaged)).listdir("sub")


def test_an_entry_that_calls_a_file_a_directory(pack: Callable[..., bytes]) -> None:
    """The walk that goes into it says that the image is corrupt, not that the caller was wrong."""
    data = pack(*PLAIN)
    at = data.index(b"file", superblock(data, DIRECTORY_TABLE)) - 4
    with pytest.raises(CorruptError, match="directory is none"):
        list(squashfs.open(BytesImage(patched(data, at, "<H", Kind.DIRECTORY))).walk())


def test_a_root_that_is_no_directory(pack: Callable[..., bytes]) -> None:
    """Likewise, when it is opened."""
    data = pack(*PLAIN)
    file = squashfs.open(BytesImage(data)).lookup("file")
    with pytest.raises(CorruptError, match="root"):
        squashfs.open(BytesImage(patched(data, ROOT, "<Q", file)))


@pytest.mark.parametrize("start", [1 << 20, 1 << 63, (1 << 64) - 1])
def test_a_fragment_outside_of_the_image(pack: Callable[..., bytes], start: int) -> None:
    """Refused when its file is opened: a stored one would be read as it is, by whatever the base makes of the place."""
    data = pack(*PLAIN, "-noF")
    table = superblock(data, superblock(data, FRAGMENT_TABLE))
    with pytest.raises(OutOfRangeError, match="fragment"):
        squashfs.open(BytesImage(patched(data, table + 2, "<Q", start))).open_file("sub/tail")


def test_a_damaged_block_is_told_by_its_place(pack: Callable[..., bytes]) -> None:
    """The offset is that of the block; what does not need it is still read."""
    data = pack(*PLAIN)
    start = struct.unpack_from("<I", data, inode_at(data, "file") + 16)[0]
    damaged = data[:start] + b"\xff" * 40 + data[start + 40 :]
    image = squashfs.open(BytesImage(damaged))
    with pytest.raises(CorruptError) as raised:
        image.open_file("file").read_at(0, 1)
    assert raised.value.offset == start
    assert image.open_file("sub/tail").read_at(0, 4) == b"tail"
    assert image.status("file").kind is Kind.FILE
