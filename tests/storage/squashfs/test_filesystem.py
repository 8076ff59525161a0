"""storage.squashfs.filesystem: the native reader and its plain twin pass the same tests."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from storage import squashfs
from storage.image import BytesImage, FileImage
from storage.squashfs import Cache, Compressor, Kind, UnsupportedError, filesystem
from tests.storage.squashfs import twin
from tests.storage.squashfs.trees import ODD_NAMES, XATTRS, Tool, content, make_image

BLOCK = 4096


@pytest.fixture(params=[squashfs.open, twin.Squashfs], ids=["native", "twin"])
def opened(request: pytest.FixtureRequest, image_path: Path) -> Any:
    """The image, opened by the reader that is tested."""
    return request.param(FileImage(image_path))


def errno_of(action: Callable[[], object]) -> int | None:
    """The errno of the OSError that an action must raise."""
    with pytest.raises(OSError) as raised:
        action()
    return raised.value.errno


class TestLookup:
    """Paths, to references."""

    @pytest.mark.parametrize("path", ["", "/", ".", "//./", "..", "/../..", "names/..", "deep/er/../../../.."])
    def test_root(self, opened: Any, path: str) -> None:
        """Every way to the top; there is nothing above it."""
        assert opened.lookup(path) == opened.root

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_names(self, opened: Any, name: bytes) -> None:
        """Any bytes are a name, and every name is found."""
        file = opened.open_file(b"names/" + name)
        assert file.read_at(0, file.size) == b"content of " + name

    def test_every_name_of_a_folder(self, opened: Any) -> None:
        """Each entry listed is the entry found."""
        for entry in opened.listdir("names")[::17]:
            assert opened.lookup(b"names/" + entry.name) == entry.reference

    def test_text_is_as_good_as_bytes(self, opened: Any) -> None:
        """By the file system's encoding."""
        assert opened.lookup("names/ünïcödé") == opened.lookup("names/ünïcödé".encode())

    def test_follows_symlinks(self, opened: Any) -> None:
        """Relative, to a file."""
        assert opened.lookup("soft") == opened.lookup("names/...")
        assert opened.lookup("soft", follow=False) != opened.lookup("soft")

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("none", errno.ENOENT),
            ("names/none", errno.ENOENT),
            ("dangling", errno.ENOENT),
            ("tail/more", errno.ENOTDIR),
            ("tail/", errno.ENOTDIR),
            ("soft/..", errno.ENOTDIR),
            ("long", errno.ELOOP),
            ("x" * 256, errno.ENOENT),
            ("x" * 257, errno.ENAMETOOLONG),
            ("many-", errno.ENOENT),
        ],
    )
    def test_ways_that_lead_nowhere(self, opened: Any, path: str, expected: int) -> None:
        """What the kernel would say."""
        assert errno_of(lambda: opened.lookup(path)) == expected

    def test_numbers(self, opened: Any) -> None:
        """Every inode by its number."""
        for _, entry in opened.walk():
            assert opened.find_number(opened.status(entry.reference).number) == entry.reference


class TestInodes:
    """What they say."""

    def test_hard_links_are_one(self, opened: Any) -> None:
        """Two names, one inode that knows."""
        assert opened.lookup("hard") == opened.lookup("tail")
        assert opened.status("hard").links == 2

    def test_targets(self, opened: Any) -> None:
        """Unfollowed, whole."""
        assert opened.readlink("dangling") == b"/nowhere/at all"
        assert opened.readlink("long") == b"long/" * 700 + b"end"

    def test_what_is_no_link(self, opened: Any) -> None:
        """EINVAL."""
        assert errno_of(lambda: opened.readlink("tail")) == errno.EINVAL

    def test_xattrs(self, opened: Any) -> None:
        """Short, empty, binary, shared; none."""
        if not opened.xattrs("tail"):
            pytest.skip("this test needs extended attributes of the file system that holds temporary files")
        assert opened.xattrs("tail") == opened.xattrs("names") == XATTRS
        assert opened.xattrs("noise")[b"user.same"] == XATTRS[b"user.same"]
        assert opened.xattrs("deep") == {}

    def test_what_is_no_file(self, opened: Any) -> None:
        """Folders and devices can't be opened."""
        assert errno_of(lambda: opened.open_file("names")) == errno.EISDIR
        assert errno_of(lambda: opened.open_file("dev/sda")) == errno.EINVAL
        assert errno_of(lambda: opened.listdir("tail")) == errno.ENOTDIR

    def test_walk_below_a_folder(self, opened: Any) -> None:
        """Paths are told from there."""
        assert [path for path, _ in opened.walk("deep")] == [
            b"er",
            b"er/and",
            b"er/and/deep",
            b"er/and/deep/er",
            b"er/and/deep/er/file",
        ]


def test_twins_see_the_same(image_path: Path) -> None:
    """Every entry, status, target, attribute and byte."""
    native, plain = squashfs.open(FileImage(image_path)), twin.Squashfs(FileImage(image_path))
    entries = list(plain.walk())
    assert list(native.walk()) == entries
    for _, entry in entries:
        assert native.status(entry.reference) == plain.status(entry.reference)
        assert native.xattrs(entry.reference) == plain.xattrs(entry.reference)
        if entry.kind is Kind.SYMLINK:
            assert native.readlink(entry.reference) == plain.readlink(entry.reference)
        if entry.kind is Kind.FILE:
            ours, theirs = native.open_file(entry.reference), plain.open_file(entry.reference)
            assert ours.read_at(0, ours.size) == theirs.read_at(0, theirs.size)
            assert ours.extents(0, ours.size) == theirs.extents(0, theirs.size)


class TestOpen:
    """Images as a whole."""

    def test_summary(self, image_path: Path) -> None:
        """What the superblock says."""
        summary = squashfs.open(FileImage(image_path)).summary
        assert (summary.compressor, summary.block_size) == (Compressor.GZIP, BLOCK)
        assert summary.options == {}

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ("gzip -Xcompression-level 3 -Xwindow-size 9", {"level": 3, "window": 9, "strategies": 0}),
            ("xz -Xbcj x86 -Xdict-size 8K", {"dictionary": 8192, "filters": 1}),
            ("lz4 -Xhc", {"version": 1, "flags": 1}),
            ("zstd -Xcompression-level 7", {"level": 7}),
            ("lzo -Xalgorithm lzo1x_1_11", {"algorithm": 1, "level": 0}),
        ],
    )
    def test_options(self, tool: Tool, tmp_path: Path, options: str, expected: dict[str, int]) -> None:
        """What the compressor was told."""
        (tmp_path / "tree").mkdir()
        image = make_image(tool, tmp_path / "tree", tmp_path / "image", "-b", "16K", "-comp", *options.split())
        assert squashfs.open(FileImage(image)).summary.options == expected

    def test_what_is_no_squashfs(self) -> None:
        """Said with the place at which it shows."""
        with pytest.raises(UnsupportedError) as raised:
            squashfs.open(BytesImage(bytes(4096)))
        assert (raised.value.offset, raised.value.errno) == (0, errno.EOPNOTSUPP)

    def test_an_image_inside_an_image(self, tool: Tool, image_path: Path, tmp_path: Path) -> None:
        """Any image will do as the base, also a file of another one that shares its caches."""
        (tmp_path / "tree").mkdir()
        (tmp_path / "tree/inner").write_bytes(image_path.read_bytes())
        outer = squashfs.open(FileImage(make_image(tool, tmp_path / "tree", tmp_path / "outer", "-b", "4K")))
        inner = squashfs.open(outer.open_file("inner"))
        assert inner.open_file("tail").read_at(0, BLOCK) == content("tail", 2 * BLOCK)[:BLOCK]

    def test_caches_are_two(self, image_path: Path) -> None:
        """Metadata in the data's cache would be mistaken for it."""
        cache = Cache(4 << 20)
        with pytest.raises(ValueError, match="of its own"):
            filesystem.open(FileImage(image_path), blocks=cache, metadata=cache)


@dataclass(frozen=True, slots=True)
class Crowd:
    """An image with a folder of so many names."""

    image: Path
    size: int

    def open(self) -> squashfs.Squashfs:
        """With caches of its own, cold."""
        return filesystem.open(FileImage(self.image), blocks=Cache(4 << 20), metadata=Cache(4 << 20))


@pytest.fixture(scope="module", params=[3000, pytest.param(100_000, marks=pytest.mark.slow)])
def crowd(request: pytest.FixtureRequest, tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """Real files: with as many pseudo files either writer takes minutes."""
    root = tmp_path_factory.mktemp("crowd")
    (root / "tree/dir").mkdir(parents=True)
    for number in range(request.param):
        (root / f"tree/dir/entry-number-{number:06d}").touch()
    image = make_image(tool, root / "tree", root / "image")
    shutil.rmtree(root / "tree")
    return Crowd(image, request.param)


class TestCrowdedFolder:
    """A directory of many entries."""

    def test_lists_all(self, crowd: Crowd) -> None:
        """In order."""
        names = [entry.name for entry in crowd.open().scan("dir")]
        assert names == [b"entry-number-%06d" % number for number in range(crowd.size)]

    @pytest.mark.parametrize("share", [0, 0.04711, 0.5, 0.999999])
    def test_lookup_is_logarithmic(self, crowd: Crowd, share: float) -> None:
        """One name costs no more metadata blocks than half the bits in the number of entries."""
        image = crowd.open()
        before = image.metadata.misses
        image.lookup(b"dir/entry-number-%06d" % int(share * crowd.size))
        assert 0 < image.metadata.misses - before <= crowd.size.bit_length() // 2

    @pytest.mark.parametrize("name", ["dir/a", "dir/entry-number-001500a", "dir/z"])
    def test_what_is_not_there_costs_no_more(self, crowd: Crowd, name: str) -> None:
        """Before the first, between two, behind the last."""
        image = crowd.open()
        before = image.metadata.misses
        assert errno_of(lambda: image.lookup(name)) == errno.ENOENT
        assert image.metadata.misses - before <= crowd.size.bit_length() // 2
