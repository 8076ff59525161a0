"""Media: kernel and initramfs are found by Rock Ridge's names, and what is damaged or hostile is refused."""

import contextlib
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment.streams import ArchiveError
from appliance.errors import OperatorError
from appliance.importing.iso import Medium
from appliance.importing.media import PLACES, find_loaded
from storage.image import BytesImage
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import archive, kernel
from tests.appliance.importing.conftest import Import

Tool = Callable[[str], str]
ROOT_SECTOR = 20


def make_iso(tool: Tool, path: Path, files: Mapping[str, bytes], *options: str) -> Path:
    """A medium with these files, as xorriso makes it."""
    tree = path.with_suffix(".tree")
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    command = [tool("xorriso"), "-as", "mkisofs", "-quiet", *options, "-o", str(path), str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def record(name: bytes, sector: int, size: int, *, flags: int = 0, rock: bytes = b"") -> bytes:
    """A directory record."""
    body = name + bytes((len(name) + 1) % 2) + rock
    fixed = struct.pack("<BxI4xI4x7xB6x", 33 + len(body), sector, size, flags)
    return fixed + bytes([len(name)]) + body


def small_iso(folder: bytes, *, size: int = 2048, sectors: int = 24) -> bytes:
    """A medium whose root has these records and nothing else."""
    root = record(b"\0", ROOT_SECTOR, size, flags=2)
    descriptor = (b"\1CD001\1".ljust(80, b"\0") + struct.pack("<I", sectors)).ljust(156, b"\0") + root
    return (bytes(16 * 2048) + descriptor).ljust(ROOT_SECTOR * 2048, b"\0") + folder.ljust(4 * 2048, b"\0")


def test_every_place_that_is_known(tool: Tool, tmp_path: Path) -> None:
    """By long names in lower case, as no plain ISO 9660 has them."""
    for number, (kernel_path, initrd_path) in enumerate(PLACES):
        files = {kernel_path: b"kernel", initrd_path: b"initrd" * 1000, "boot/x86_64/loader/isolinux.cfg": b""}
        image = BytesImage(make_iso(tool, tmp_path / f"{number}.iso", files, "-R").read_bytes())
        medium = Medium(image)
        found = find_loaded(medium)
        assert found is not None
        assert b"".join(medium.chunks(found.kernel)) == b"kernel"
        assert b"".join(medium.chunks(found.initrd)) == b"initrd" * 1000


def test_names_that_go_on_elsewhere(tool: Tool, tmp_path: Path) -> None:
    """Rock Ridge puts what has no room in a record into another sector; folders may have many."""
    name = f"{'n' * 120}/{'m' * 250}"
    files = {name: b"found", **{f"{'n' * 120}/{number:03}{'x' * 200}": b"" for number in range(100)}}
    medium = Medium(BytesImage(make_iso(tool, tmp_path / "long.iso", files, "-R").read_bytes()))
    node = medium.find(name)
    assert node is not None
    assert b"".join(medium.chunks(node)) == b"found"
    assert medium.find("n" * 120) is None  # a folder is no file
    assert medium.find(f"{name}/below") is None


def test_names_without_rock_ridge() -> None:
    """In upper case, with a version behind a semicolon; files that are in pieces are none for us."""
    folder = record(b"LINUX.;1", 21, 5) + record(b"BIG.;1", 21, 5, flags=0x80)
    medium = Medium(BytesImage(small_iso(folder)))
    assert medium.find("linux") is not None
    assert medium.find("big") is None


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
    with pytest.raises(ArchiveError, match=message):
        Medium(BytesImage(content)).find("linux")


def test_names_that_go_on_for_ever() -> None:
    """A continuation that leads to itself has an end."""
    folder = record(b"LINUX", 21, 5, rock=CONTINUED).ljust(2 * 2048, b"\0") + CONTINUED
    assert Medium(BytesImage(small_iso(folder))).find("linux") is not None


@given(data=st.data())
def test_nothing_but_an_archive_error_escapes(data: st.DataObject) -> None:
    """Whatever is changed in its descriptor and root."""
    folder = record(b"LINUX", 21, 5, rock=b"NM\x0a\1\0linux") + record(b"BOOT", ROOT_SECTOR, 2048, flags=2)
    content = bytearray(small_iso(folder))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.sampled_from([16 * 2048, ROOT_SECTOR * 2048]))
        content[start + data.draw(st.integers(0, 255))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArchiveError):
        Medium(BytesImage(bytes(content))).find("boot/boot/linux")


@pytest.mark.parametrize(
    ("files", "places", "ways"),
    [
        (archives.KIWI_LIVE, PLACES[0], {"ram": "kiwi-live", "aoe": "kiwi-live"}),
        (archives.KIWI_LIVE_AOE, PLACES[0], {"aoe": "kiwi-live-aoe"}),
        (archives.CASPER, PLACES[2], {"ram": "casper"}),
        (archives.LIVE_BOOT, PLACES[5], {"ram": "live-boot"}),
        (archives.ARCHISO, PLACES[6], {"nbd": "archiso"}),
        (archives.LIVENET, PLACES[7], {"ram": "dracut-livenet"}),
        (archives.LOCAL, PLACES[7], {}),
    ],
)
def test_media_are_imported(
    tool: Tool,
    tmp_path: Path,
    tree: Path,
    run_import: Import,
    files: Mapping[str, bytes],
    places: tuple[str, str],
    ways: Mapping[str, str],
) -> None:
    """Whole, with their kernel and initramfs beside them; how they boot is said."""
    inside = {places[0]: kernel(), places[1]: archive(files)}
    medium = make_iso(tool, tmp_path / "live.iso", inside, "-R")
    report = run_import(medium)
    assert (report["boots"], report["kind"]) == (ways, "live or installation medium")
    assert (tree / "image/live.iso").read_bytes() == medium.read_bytes()
    assert (tree / "image/live.iso.kernel").read_bytes() == kernel()
    assert (tree / "image/live.iso.initrd").read_bytes() == archive(files)


def test_a_medium_that_is_cut_off_is_not_imported(tool: Tool, tmp_path: Path, tree: Path, run_import: Import) -> None:
    """Most downloads that fail are."""
    medium = make_iso(tool, tmp_path / "live.iso", {"boot/linux": bytes(1 << 20)}, "-R")
    medium.write_bytes(medium.read_bytes()[: 1 << 20])
    with pytest.raises(OperatorError, match=r"live\.iso is cut off: .*: fetch it anew"):
        run_import(medium)
    assert not list((tree / "image").iterdir())
