"""IDENTIFY DEVICE as the Linux driver and others read it."""

import struct

import pytest

from protocols.aoe.identity import LBA28_SECTORS, build_identity


def words(sectors: int = 2048, serial: str = "0.1:root", firmware: str = "1.0") -> tuple[int, ...]:
    """The 256 words for a disk."""
    return struct.unpack("<256H", build_identity(sectors, serial=serial, firmware=firmware))


def text(found: tuple[int, ...]) -> str:
    """Words as text, each with its first character in the upper byte (ata_ident_fixstring)."""
    return b"".join(struct.pack(">H", word) for word in found).decode("ascii")


def test_names_are_swapped_and_filled_with_spaces() -> None:
    """Serial, firmware and model, each at its place and of its length."""
    found = words()
    assert text(found[10:20]) == "0.1:root".ljust(20)
    assert text(found[23:27]) == "1.0".ljust(8)
    assert text(found[27:47]) == "rootwire AoE target".ljust(40)


def test_long_and_foreign_names_are_made_to_fit() -> None:
    """Cut at twenty characters; what ATA can't say becomes a question mark."""
    assert text(words(serial="0.1:käse\n" + "x" * 40)[10:20]) == "0.1:k?se?" + "x" * 11


@pytest.mark.parametrize("sectors", [1, 2048, LBA28_SECTORS, LBA28_SECTORS + 1, 2**40 + 3])
def test_the_driver_reads_the_size(sectors: int) -> None:
    """ataid_complete: bit 10 of words 83 or 86 makes it take words 100 to 103; without, words 60 and 61."""
    found = words(sectors)
    assert (found[83] | found[86]) & 1 << 10
    assert sum(found[100 + place] << 16 * place for place in range(4)) == sectors
    assert found[60] | found[61] << 16 == min(sectors, LBA28_SECTORS)


def test_capability_words_claim_to_mean_something() -> None:
    """LBA in word 49; bits 15 and 14 of 50, 83, 84 and 87 are 01; flushes are supported and on."""
    found = words()
    assert found[49] & 1 << 9
    assert [found[word] >> 14 for word in (50, 83, 84, 87)] == [1, 1, 1, 1]
    assert found[83] & 0x3000 == found[86] & 0x3000 == 0x3000


@pytest.mark.parametrize(("sectors", "cylinders"), [(1008, 1), (2**30, 16383)])
def test_geometry_is_there_for_old_initiators(sectors: int, cylinders: int) -> None:
    """16 heads and 63 sectors, cylinders up to the number that says "more"; the current ones are marked valid."""
    found = words(sectors)
    assert (found[1], found[3], found[6]) == found[54:57] == (cylinders, 16, 63)
    assert found[53] & 1
    assert found[57] | found[58] << 16 == cylinders * 16 * 63


def test_the_integrity_byte_makes_the_sum_zero() -> None:
    """Signature 0xA5, then what brings all 512 bytes to 0 modulo 256."""
    data = build_identity(2048, serial="0.1:root", firmware="1.0")
    assert len(data) == 512
    assert data[510] == 0xA5
    assert sum(data) % 256 == 0
