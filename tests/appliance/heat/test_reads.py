"""Reads named by file: ranges of a made-up image, and what boots read of it."""

import random

from appliance.heat.reads import BLOCK, Covered, first_reads, report_heat, sector_of, sum_up
from appliance.heat.recording import Recording, Run
from storage.squashfs.owners import Owner, Owners, Part

SECOND = 1_000_000_000
OWNERS = Owners(
    [b"bin/one", b"bin/two", b"etc/small", b"etc/tiny", b"odd\xff"],
    [(1000, 500, 0), (1500, 1000, 1), (4000, 100, 4)],
    [(3000, 200, 2), (3000, 200, 3)],
    [Owner(Part.METADATA, 0, 96, (b"superblock",))],
)


def recording(*runs: Run, client: str = "a") -> Recording:
    """A boot that read these."""
    return Recording("root", client, 1000.0, 9.0, runs, 0)


def test_files_are_named_in_the_order_of_the_first_read() -> None:
    """With their bytes, and when."""
    report = report_heat("root", [recording((1500, 100, SECOND, 1), (1200, 300, 2 * SECOND, 2))], OWNERS)
    assert [(part["names"], part["bytes"], part["size"], part["after"]) for part in report["ranges"]] == [
        (["bin/two"], 100, 1000, 1.0),
        (["bin/one"], 300, 500, 2.0),
    ]


def test_one_read_may_be_of_several() -> None:
    """Each has its part; what is nobody's is said so."""
    report = report_heat("root", [recording((1400, 10, 0, 1), (0, 1600, SECOND, 1))], OWNERS)
    assert [(part["part"], part["names"], part["bytes"]) for part in report["ranges"]] == [
        ("file", ["bin/one"], 500),
        ("metadata", ["superblock"], 96),
        ("unknown", [], 904),
        ("file", ["bin/two"], 100),
    ]


def test_a_fragment_lists_whose_ends_it_has() -> None:
    """Any of them may have been wanted."""
    (part,) = report_heat("root", [recording((3000, 200, 0, 1))], OWNERS)["ranges"]
    assert (part["part"], part["names"]) == ("fragment", ["etc/small", "etc/tiny"])


def test_names_need_not_be_text() -> None:
    """Bytes that are no UTF-8 survive JSON."""
    (part,) = report_heat("root", [recording((4000, 10, 0, 1))], OWNERS)["ranges"]
    assert part["names"] == ["odd\udcff"]


def test_whoever_shares_a_sector_was_not_read() -> None:
    """Only those of whom a sector or all was read: 1024 bytes, the most that all reads are whole numbers of."""
    owners = Owners(
        [b"before", b"wanted", b"tiny", b"behind"],
        [(0, 5000, 0), (5000, 2500, 1), (7500, 50, 2), (8000, 9000, 3)],
        [],
        [Owner(Part.METADATA, 17000, 3000, (b"id table",))],
    )
    boot = recording((4096, 4096, 0, 1), (16384, 1024, 1, 1))
    report = report_heat("root", [boot], owners)
    assert [(part["names"], part["bytes"]) for part in report["ranges"]] == [
        (["wanted"], 2500),
        (["tiny"], 50),
        ([], 450),
        (["id table"], 408),
    ]
    assert report["boots"][0]["bytes"] == 5120


def test_who_looks_at_the_beginning_reads_no_file() -> None:
    """A look at the device brings what lies there; the file system, that reads it, reads it again."""
    look = [(0, 1200, 0, 2), (1200, 100, 1, 1)]
    assert report_heat("root", [recording(*look)], OWNERS)["ranges"] == []
    report = report_heat("root", [recording(*look, (0, 96, 2, 1), (1000, 400, 3, 1))], OWNERS)
    assert [(part["names"], part["bytes"]) for part in report["ranges"]] == [(["superblock"], 96), (["bin/one"], 400)]
    assert report["boots"][0]["bytes"] == 1400


def test_sectors_are_what_all_reads_are_rounded_to() -> None:
    """A power of two, and no more than disks have."""
    assert sector_of([(1024, 3072, 0, 1), (4096, 8192, 0, 1)]) == 1024
    assert sector_of([(8192, 16384, 0, 1)]) == sector_of([]) == 4096
    assert sector_of([(8192, 16385, 0, 1)]) == 1


def test_what_is_read_again_counts_once() -> None:
    """In bytes; its reads are counted each."""
    boot = recording((1000, 500, 0, 1), (1200, 500, SECOND, 3))
    report = report_heat("root", [boot], OWNERS)
    assert [(part["names"], part["bytes"]) for part in report["ranges"]] == [(["bin/one"], 500), (["bin/two"], 200)]
    assert (report["boots"][0]["bytes"], report["boots"][0]["reads"]) == (700, 4)


def test_boots_are_joined() -> None:
    """The earliest first read and the most bytes; in how many boots."""
    boots = [recording((1000, 100, 5 * SECOND, 1)), recording((1000, 300, 2 * SECOND, 1), (1500, 1, 0, 1), client="b")]
    report = report_heat("root", boots, OWNERS)
    assert [(part["names"], part["bytes"], part["after"], part["boots"]) for part in report["ranges"]] == [
        (["bin/two"], 1, 0.0, 1),
        (["bin/one"], 300, 2.0, 2),
    ]
    assert [boot["client"] for boot in report["boots"]] == ["a", "b"]


def test_a_boot_in_numbers() -> None:
    """Reads that go on, or nearly so, are no jumps; blocks are 128 KiB."""
    runs = ((0, 4096, 0, 2), (4096, 4096, 1, 1), (BLOCK - 1, 2, 2, 1), (0, 512, 3, 1))
    boot = sum_up(recording(*runs))
    assert (boot["bytes"], boot["reads"], boot["blocks"], boot["stretches"]) == (8194, 5, 2, 1)
    assert (boot["jumps"], boot["way"]) == (0, 0), "the last read is of what the disk has given before"
    far = sum_up(recording((0, 512, 0, 1), (BLOCK + 512, 1, 1, 1), (3 * BLOCK, 1, 2, 1), (BLOCK, 512, 3, 1)))
    assert (far["jumps"], far["way"]) == (2, (3 * BLOCK - BLOCK - 513) + (3 * BLOCK + 1 - BLOCK))
    assert (far["blocks"], far["stretches"]) == (3, 2)


def test_covered_ranges_are_as_a_set_of_bytes() -> None:
    """Whatever overlaps with whatever."""
    dice, covered, seen = random.Random(4), Covered(), set[int]()
    for _ in range(400):
        start = dice.randrange(1000)
        end = start + dice.randrange(1, 40)
        fresh = {at for low, high in covered.add(start, end) for at in range(low, high)}
        assert fresh == set(range(start, end)) - seen
        seen |= fresh


def test_first_reads_have_each_byte_once() -> None:
    """In order, with their time."""
    assert list(first_reads([(0, 10, 0, 1), (5, 10, SECOND, 1)])) == [(0, 10, 0.0), (10, 15, 1.0)]
