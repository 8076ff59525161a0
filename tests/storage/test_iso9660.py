"""Media: files are found by Rock Ridge's names, by Joliet's, or plain ones; what is damaged or hostile is refused."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import storage.iso9660
from storage.image import BytesImage, FileImage
from storage.iso9660 import Iso, IsoError, Node, _join
from tests.storage.isos import ROOT_SECTOR, Tool, make_iso, record, small_iso


def content_of(medium: Iso, path: str) -> bytes:
    """A file's bytes."""
    image = medium.open_file(path)
    return image.read_at(0, image.size)


def of_records(*records: bytes) -> Iso:
    """A small medium with these in its root."""
    return Iso(BytesImage(small_iso(b"".join(records))))


FILES = {"boot/Grub/linux-6.1.0+b1": b"kernel", "apks/x86_64/a b.apk": b"package" * 1000, "empty": b""}


@pytest.mark.parametrize("options", [("-R",), ("-J",), ("-R", "-J")], ids="+".join)
def test_files_by_their_long_names(tool: Tool, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Those of Rock Ridge, or else Joliet's; slashes too many don't matter, nor does the case."""
    medium = Iso(FileImage(make_iso(tool, tmp_path / "medium.iso", FILES, *options)))
    for path, content in FILES.items():
        assert content_of(medium, path) == content_of(medium, f"/{path.replace('/', '//')}") == content
        assert content_of(medium, path.upper()) == content
    assert medium.names("/") == ["apks", "boot", "empty"]
    assert medium.names("none") == []
    assert (medium.has("boot/Grub"), medium.has("boot/none")) == (True, False)


def test_names_that_go_on_elsewhere(tool: Tool, tmp_path: Path) -> None:
    """Rock Ridge puts what has no room in a record into another sector; folders may have many."""
    name = f"{'n' * 120}/{'m' * 250}"
    files = {name: b"found", **{f"{'n' * 120}/{number:03}{'x' * 200}": b"" for number in range(100)}}
    medium = Iso(BytesImage(make_iso(tool, tmp_path / "long.iso", files, "-R").read_bytes()))
    assert content_of(medium, name) == b"found"
    assert len(medium.names("n" * 120)) == 101


LINKS = {"debian": ".", "latest": "pool/../pool/one", "pool/up": "../../etc/motd", "a": "b", "b": "a", "x": "/pool/one"}


@pytest.mark.parametrize("path", ["latest", "debian/debian/pool/one", "x", "pool/../../../pool/one"])
def test_links_are_followed_inside(tool: Tool, tmp_path: Path, path: str) -> None:
    """Nothing leads out of a medium: its root is its own parent."""
    image = make_iso(tool, tmp_path / "links.iso", {"pool/one": b"1", "etc/motd": b"m"}, "-R", links=LINKS)
    medium = Iso(FileImage(image))
    assert content_of(medium, path) == b"1"
    assert content_of(medium, "pool/up") == b"m"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("none", FileNotFoundError),
        ("pool/none/one", FileNotFoundError),
        ("pool", IsADirectoryError),
        ("pool/one/two", NotADirectoryError),
        ("a", OSError),
        ("pool/" * 100, FileNotFoundError),
    ],
)
def test_what_is_no_file(tool: Tool, tmp_path: Path, path: str, error: type[OSError]) -> None:
    """Said as a file system would; links that lead in circles have an end."""
    medium = Iso(FileImage(make_iso(tool, tmp_path / "links.iso", {"pool/one": b"1"}, "-R", links=LINKS)))
    with pytest.raises(error):
        medium.open_file(path)
    assert medium.has(path) is (error is IsADirectoryError)
    assert medium.names(path) == (["one", "up"] if error is IsADirectoryError else [])


def test_names_without_rock_ridge() -> None:
    """In upper case, with a version behind a semicolon."""
    assert of_records(record(b"LINUX.;1", 21, 5)).open_file("linux").size == 5


def test_a_file_in_several_extents() -> None:
    """One behind the other, as those of 4 GiB and more are written: one file. Elsewhere, or interleaved: refused."""
    medium = of_records(
        *(record(b"BIG.;1", 21, 2048, flags=0x80), record(b"BIG.;1", 22, 5)),
        *(record(b"FAR.;1", 21, 2048, flags=0x80), record(b"FAR.;1", 23, 5)),
        *(record(b"MIX.;1", 21, 5, unit=1), record(b"CUT.;1", 21, 5, flags=0x80)),
    )
    image = medium.open_file("big")
    assert (image.start, image.size) == (21 * 2048, 2053)
    for name in ("far", "mix"):
        with pytest.raises(IsoError, match="in pieces"):
            medium.open_file(name)
    assert not medium.has("cut")


def test_large_sizes_don_t_wrap() -> None:
    """Two extents of nearly 4 GiB are 8 GiB."""
    part = Node(0, 0xFFFFF800, is_folder=False)
    assert _join(part, Node(0xFFFFF800, 0xFFFFF800, is_folder=False)) == Node(0, 2 * 0xFFFFF800, is_folder=False)


def test_what_is_remembered_has_an_end(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that were read last; a medium can have any number."""
    monkeypatch.setattr(storage.iso9660, "KEPT_MOST", 20)
    files = {f"{folder}/{number}": b"x" for folder in range(8) for number in range(8)}
    medium = Iso(FileImage(make_iso(tool, tmp_path / "many.iso", files, "-R")))
    for path in files:
        assert content_of(medium, path) == b"x"
    assert sum(map(len, medium._kept.values())) <= 20


CONTINUED = b"CE\x1c\1" + struct.pack("<6I", ROOT_SECTOR + 2, 0, 0, 0, 2048, 0)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "no medium": (bytes(100_000), "is no ISO 9660 medium"),
    "shorter than its descriptors": (bytes(1000), "is cut off"),
    "cut off": (small_iso(b"", sectors=25), "is cut off: it has 51200 bytes"),
    "a folder behind the end": (small_iso(b"", size=1 << 30), "a file lies behind its end"),
    "a file behind the end": (small_iso(record(b"LINUX", 5000, 5)), "a file lies behind its end"),
    "a record too short": (small_iso(b"\x05" + bytes(40)), "a directory record is too short"),
    "a name too long": (small_iso(record(b"LINUX", 21, 5).replace(b"\5LINUX", b"\xffLINUX")), "too short"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_refused(what: str) -> None:
    """Before it is read."""
    content, message = HOSTILE[what]
    with pytest.raises(IsoError, match=message):
        Iso(BytesImage(content)).has("linux")


def test_a_folder_of_impossible_size() -> None:
    """Though the medium be large enough."""
    medium = bytearray(small_iso(record(b"BOOT", 20, 5 << 20, flags=2)) + bytes(5 << 20))
    with pytest.raises(IsoError, match="a folder of an impossible size"):
        Iso(BytesImage(bytes(medium))).names("boot")


def test_a_root_that_is_no_folder() -> None:
    """By its own flag: there is nothing in it."""
    medium = bytearray(small_iso(record(b"BOOT", 20, 2048, flags=2)))
    medium[16 * 2048 + 156 + 25] = 0
    assert Iso(BytesImage(bytes(medium))).names("boot") == []


def test_names_that_go_on_for_ever() -> None:
    """A continuation that leads to itself has an end."""
    folder = record(b"LINUX", 21, 5, rock=CONTINUED).ljust(2 * 2048, b"\0") + CONTINUED
    assert Iso(BytesImage(small_iso(folder))).has("linux")


@given(data=st.data())
def test_nothing_but_the_documented_errors_escape(data: st.DataObject) -> None:
    """Whatever is changed in its descriptor and root."""
    link = b"NM\x09\1\0link" + b"SL\x0d\1\0" + bytes([0, 4]) + b"boot" + bytes([4, 0])
    folder = b"".join(
        (
            record(b"LINUX", 21, 5, rock=b"NM\x0a\1\0linux"),
            record(b"BOOT", ROOT_SECTOR, 2048, flags=2),
            record(b"LINK", 21, 0, rock=link),
        )
    )
    content = bytearray(small_iso(folder))
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.sampled_from([16 * 2048, ROOT_SECTOR * 2048]))
        content[start + data.draw(st.integers(0, 255))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IsoError, OSError):
        medium = Iso(BytesImage(bytes(content)))
        image = medium.open_file("boot/link/boot/linux")
        image.read_at(0, min(image.size, 1 << 20))
