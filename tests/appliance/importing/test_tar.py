"""Tar archives: what ordinary programs write is read, what is meant to harm is refused with one clear line."""

import contextlib
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment.bytestream import ByteStream
from appliance.deployment.streams import ArchiveError
from appliance.errors import OperatorError
from appliance.importing.pieces import read_pieces
from appliance.importing.tar import BLOCK, MEMBERS_MOST, SIZE_MOST, TEXT_MOST, is_tar, read_members
from tests.appliance.importing.kiwi import tarball


def contents(archive: bytes, step: int = 1000) -> dict[str, bytes | str]:
    """Every member's bytes, or what it is a link to."""
    chunks = (archive[at : at + step] for at in range(0, len(archive), step))
    stream = ByteStream(chunks, lambda count: None)
    return {
        member.name: stream.read(member.size) if member.target is None else member.target
        for member in read_members(stream)
    }


def special(kind: bytes, name: str = "x", **fields: object) -> bytes:
    """An archive of one member of a kind."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.type = kind
        for field, value in fields.items():
            setattr(member, field, value)
        tar.addfile(member)
    return out.getvalue()


def with_size(field: bytes) -> bytes:
    """An archive whose only member has this as its size."""
    block = bytearray(special(tarfile.REGTYPE)[:BLOCK])
    block[124:136] = field
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


LONG = "a/" * 70 + "b" * 80
FILES = {"edge": b"x" * 5000, "empty": b"", "block": b"y" * BLOCK, LONG: b"deep"}


@pytest.mark.parametrize("form", ["ustar", "gnu", "pax"])
@pytest.mark.parametrize("step", [1, 511, 10_000_000])
def test_what_programs_write(form: str, step: int) -> None:
    """In whatever pieces it comes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=getattr(tarfile, f"{form.upper()}_FORMAT")) as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert is_tar(out.getvalue()[:BLOCK])
    assert contents(out.getvalue(), step) == FILES


@pytest.mark.parametrize("form", ["gnu", "pax", "v7"])
def test_what_tar_writes(tool: Callable[[str], str], tmp_path: Path, form: str) -> None:
    """Debian's, of a folder with a link in it, as KIWI calls it."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/edge").write_bytes(b"x" * 5000)
    (tmp_path / "set/link").symlink_to("edge")
    made = subprocess.run(
        [tool("tar"), "-C", str(tmp_path / "set"), f"--format={form}", "-c", "."], capture_output=True, check=True
    )
    assert contents(made.stdout) == {"./edge": b"x" * 5000, "./link": "edge"}


def test_members_nobody_reads_are_passed_over() -> None:
    """Also those of which a part was read."""
    stream = ByteStream(iter([tarball({"one": b"1" * 1000, "two": b"2" * 1000, "three": b"3"})]), lambda count: None)
    names = []
    for member in read_members(stream):
        names.append(member.name)
        stream.read(member.size // 2)
    assert names == ["one", "two", "three"]


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
HOSTILE: dict[str, tuple[bytes, str]] = {
    "cut off in a member": (tarball({"edge": bytes(5000)})[:2000], "is cut off"),
    "cut off between members": (tarball({"edge": bytes(512)})[: 2 * BLOCK], "is cut off"),
    "a device": (special(tarfile.CHRTYPE), "which is no file"),
    "a pipe": (special(tarfile.FIFOTYPE), "which is no file"),
    "sparse, GNU's": (special(tarfile.GNUTYPE_SPARSE), "which is no file"),
    "sparse, pax": (special(tarfile.REGTYPE, pax_headers=SPARSE), "as a sparse file"),
    "thousands of members": (tarball({f"{n}": b"" for n in range(MEMBERS_MOST + 1)}), "more than 256 members"),
    "a sum that is wrong": (tarball({"edge": b""}).replace(b"edge", b"edgy", 1), "is damaged: a header's sum"),
    "a size without end": (with_size(b"\xff" * 12), "of an impossible size"),
    "a size over all disks": (with_size(b"\x80" + (SIZE_MOST + 1).to_bytes(11, "big")), "of an impossible size"),
    "a size that is none": (with_size(b"00000000009\0"), "a size is no number"),
    "a name of a gigabyte": (
        special(tarfile.GNUTYPE_LONGNAME, size=1 << 30)[:BLOCK] + bytes(TEXT_MOST),
        "a header of an impossible length",
    ),
    "headers without end": (special(tarfile.XHDTYPE)[:BLOCK] * (MEMBERS_MOST + 1), "headers without end"),
    "an extended header that is none": (
        special(tarfile.XHDTYPE, size=4)[:BLOCK] + b"99 a".ljust(BLOCK, b"\0"),
        "an extended header is none",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_refused(what: str) -> None:
    """With a sentence that says what it is."""
    archive, message = HOSTILE[what]
    with pytest.raises(ArchiveError, match=message):
        contents(archive)


@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../../etc/passwd": b""}, {}),
        ({"/etc/passwd": b""}, {}),
        ({"a/../../b": b""}, {}),
        ({".hidden": b""}, {}),
        ({"edge\nfake": b""}, {}),
        ({"edge": b"", "folder/edge": b""}, {}),
        ({}, {"edge": "/etc/passwd"}),
        ({}, {"edge": "../../etc/passwd"}),
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, files: dict[str, bytes], links: dict[str, str]) -> None:
    """Of members and of what links lead to, and names that are there twice."""
    path = tmp_path / "hostile.tar"
    path.write_bytes(tarball(files, links=links))
    with pytest.raises(OperatorError, match=r"hostile\.tar (holds|gives) .*: fetch it anew"):
        for _ in read_pieces([path]):
            pass


def test_a_damaged_stream_is_said_to_be(tmp_path: Path) -> None:
    """Wherever it is noticed: here where the file in it is read."""
    path = tmp_path / "edge.tar.xz"
    path.write_bytes(tarball({"edge": bytes(range(256)) * 2000}, mode="w:xz")[:-60])
    with pytest.raises(OperatorError, match=r"edge\.tar\.xz is (cut off|damaged.*): fetch it anew, or build it again"):
        _ = [b"".join(piece.chunks) for piece in read_pieces([path])]


@given(data=st.data())
def test_nothing_but_an_archive_error_escapes(data: st.DataObject) -> None:
    """Whatever bytes of a sound archive are changed."""
    archive = bytearray(tarball({"edge": b"x" * 600, LONG: b"y"}, links={"link": "edge"}))
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArchiveError):
        contents(bytes(archive))
