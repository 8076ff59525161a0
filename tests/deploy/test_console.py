"""A client's console: lines out of bytes, marks out of lines, and nothing that could steer a terminal."""

import pytest

from deploy.lab.console import MAX_LINE, Console, Mark, clean_line

BOOT = (
    b"\x1b[2J\x1b[01;01HPXELINUX 6.04 PXE 20200816 Copyright (C) 1994-2015 H. Peter Anvin et al\r\n"
    b"\r\nBOOT-USERSPACE uptime=6.69\r\n"
    b"BOOT-CHECKSUM files=600 md5=0123456789abcdef0123456789abcdef\r\n"
    b"BOOT-DONE uptime=11.07\r\n"
)


def feed(data: bytes, size: int) -> list[tuple[Mark, dict[str, str]]]:
    """All marks in `data`, given in pieces of `size` bytes."""
    console = Console()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return [(sighting.mark, sighting.values) for piece in pieces for sighting in console.feed(piece)]


@pytest.mark.parametrize("size", [len(BOOT), 1, 7])
def test_marks_are_found_however_the_bytes_arrive(size: int) -> None:
    """Whole, byte by byte, or cut anywhere."""
    assert feed(BOOT, size) == [
        (Mark.LOADER, {}),
        (Mark.USERSPACE, {"uptime": "6.69"}),
        (Mark.CHECKSUM, {"files": "600", "md5": "0123456789abcdef0123456789abcdef"}),
        (Mark.DONE, {"uptime": "11.07"}),
    ]


def test_a_mark_is_reported_once() -> None:
    """PXELINUX says who it is on the screen and on the serial line: both end up here."""
    assert len(feed(b"PXELINUX 6.04\nPXELINUX 6.04\n", 64)) == 1


def test_a_panic_says_why() -> None:
    """The reason goes into the client's failure."""
    line = b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    assert feed(line, 100) == [(Mark.PANIC, {"why": "VFS: Unable to mount root fs"})]


def test_an_unfinished_line_is_among_the_last() -> None:
    """A client that hangs mid-line shows what it hangs on."""
    console = Console()
    console.feed(b"one\r\ntwo\r\n\r\nwaiting for")
    assert console.last_lines(2) == ["two", "waiting for"]


def test_a_line_that_never_ends_is_cut() -> None:
    """Firmware draws dots for minutes; memory stays bounded."""
    console = Console()
    for _ in range(3):
        console.feed(b"." * (MAX_LINE + 1))
    assert [len(line) for line in console.last_lines(9)] == [MAX_LINE + 1] * 3


def test_terminal_sequences_are_removed() -> None:
    """Neither colours nor a bell, nor a title, reach the user's terminal."""
    assert clean_line("\x1b[31mred\x1b[0m\a \x1b(Bplain\x1b]") == "red plain]"
