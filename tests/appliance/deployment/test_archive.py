"""Initramfs archives read from outside: every compression, one behind the other, and what hostile ones may not do."""

import gzip
import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment import archive as reader
from appliance.deployment.archive import Member, read_members
from appliance.deployment.streams import ArchiveError
from appliance.initrd.cpio import build_archive, file
from storage.image import BytesImage
from tests.appliance.deployment.archives import LZOP_HEADER, PACKERS, archive

FILES = {"etc/motd": b"hello", "kernel/x86/microcode/AuthenticAMD.bin": random.Random(4).randbytes(300_000)}


def members(content: bytes, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, bytes]:
    """Name and data of every file in an initramfs."""
    return {member.name: member.data for member in read_members(BytesImage(content), wanted) if member.data}


@pytest.mark.parametrize("packer", PACKERS)
def test_every_compression_is_read(packer: str) -> None:
    """Each that a kernel of a distribution unpacks."""
    assert members(PACKERS[packer](archive(FILES))) == FILES


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("padding", [0, 508, 70_000])
def test_microcode_comes_before_the_archive_proper(packer: str, padding: int) -> None:
    """A plain archive, NULs, then the compressed one, as dracut and initramfs-tools write them."""
    early = archive({"early": b"x" * 100_000})
    assert members(early + bytes(padding) + PACKERS[packer](archive(FILES))) == FILES | {"early": b"x" * 100_000}


@pytest.mark.parametrize("packer", sorted(set(PACKERS) - {"plain"}))
def test_archives_behind_a_compressed_one_are_read(packer: str) -> None:
    """Whoever appends an archive of his own does it so."""
    content = PACKERS[packer](archive({"a": b"1"})) + bytes(4) + gzip.compress(archive({"b": b"2"}) + bytes(512))
    assert members(content) == {"a": b"1", "b": b"2"}


def test_only_what_is_asked_for_is_kept() -> None:
    """A name for each entry; data for those that are wanted, folders have none."""
    found = list(read_members(BytesImage(archive(FILES)), lambda name: name == "etc/motd"))
    assert Member("etc/motd", b"hello") in found
    assert Member("kernel/x86/microcode/AuthenticAMD.bin") in found
    assert Member("etc") in found


def test_names_are_relative_whatever_the_archive_says() -> None:
    """`find . | cpio` writes ./ before them."""
    content = b"".join(build_archive([file("xyinit", b"1")])).replace(b"xyinit", b"./init")
    assert [member.name for member in read_members(BytesImage(content), lambda name: False)] == ["init"]


@pytest.mark.parametrize("content", [b"", bytes(4096)])
def test_nothing_holds_nothing(content: bytes) -> None:
    """An empty initramfs, or only padding, is one without entries."""
    assert members(content) == {}


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_cut_off_is_said_to_be(packer: str) -> None:
    """A copy that was interrupted must not pass for a smaller initramfs."""
    content = PACKERS[packer](archive(FILES))
    for length in (7, 60, 300, len(content) // 2, len(content) - 600):
        with pytest.raises(ArchiveError):
            members(content[:length])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"MZ" + bytes(600), "is no initramfs"),
        (gzip.compress(b"hello world" * 20, mtime=0), "no cpio archive"),
        (b"070701" + b"zz" * 52, "damaged cpio header"),
        (b"070701" + b"0" * 104, "impossible length"),
        (b"070701" + b"0" * 88 + b"7fffffff" + b"0" * 8, "impossible length"),
        (b"\x1f\x8b\x08\0" + b"\xff" * 600, "is damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 600, "is damaged"),
        (b"\x02\x21\x4c\x18" + struct.pack("<I", 600) + b"\xff" * 600, "is damaged"),
    ],
)
def test_what_is_no_initramfs_is_refused_with_the_reason(content: bytes, why: str) -> None:
    """One error, whatever the library says."""
    with pytest.raises(ArchiveError, match=why):
        members(content)


LZOP_BLOCK = bytes.fromhex(  # what lzop -9 made of the archive of a file "a" of 700 times "1"
    "000004000000004f0196b28e13303746003130a0009c00023831413430340100312b340001324243302005010032e3016100312000009c0000"
    "2bac0c3e020031302015010042e00108545241494c455221212100203a000011000000000000"
)


def test_packed_blocks_of_lzop_are_unpacked() -> None:
    """By the reader of squashfs's LZO; byte by byte as at once; a spoilt one is damaged."""
    content = LZOP_HEADER + LZOP_BLOCK
    assert members(content) == {"a": b"1" * 700}
    for spoilt in (bytes([content[60] ^ 255]), b""):
        with pytest.raises(ArchiveError):
            members(content[:60] + spoilt + content[61:])


def test_headers_and_blocks_of_lzop_may_have_more_in_them() -> None:
    """Four bytes about a filter in the one; a second sum, of the packed bytes, in the others."""
    flags = int.from_bytes(LZOP_HEADER[17:21], "big") | 0xA00
    head = LZOP_HEADER[:17] + flags.to_bytes(4, "big") + bytes(4) + LZOP_HEADER[21:]
    assert members(head + LZOP_BLOCK[:12] + bytes(4) + LZOP_BLOCK[12:]) == {"a": b"1" * 700}


@pytest.mark.parametrize("packer", ["gzip", "xz", "bzip2", "zstd", "lz4", "lzo"])
def test_a_bomb_is_put_down(packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros without end unpack up to the limit, in chunks, and no further."""
    monkeypatch.setattr(reader, "UNPACKED_MOST", 4 << 20)
    with pytest.raises(ArchiveError, match="more than an initramfs holds"):
        members(PACKERS[packer](archive({"zeros": bytes(32 << 20)})))


def test_the_number_of_entries_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty files cost little room and much time."""
    monkeypatch.setattr(reader, "MEMBERS_MOST", 3)
    with pytest.raises(ArchiveError, match="more than an initramfs holds"):
        members(archive({str(n): b"" for n in range(5)}))


@given(st.binary(max_size=2000), st.sampled_from(sorted(PACKERS)), st.integers(0, 1500))
def test_noise_raises_nothing_else(noise: bytes, packer: str, at: int) -> None:
    """Whatever stands in an image, only the documented error comes out."""
    good = PACKERS[packer](archive({"a": b"1" * 700}))
    for content in (noise, good[:at] + noise, PACKERS[packer](noise), good[:at] + noise + good[at + len(noise) :]):
        try:
            members(content)
        except ArchiveError:
            continue
