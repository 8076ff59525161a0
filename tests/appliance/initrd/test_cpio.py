"""Archives as the cpio program reads them, and the same bytes for the same contents."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.initrd import cpio
from appliance.initrd.errors import InitrdError

ENTRIES = [
    cpio.file("init", b"#!/bin/sh\n", executable=True),
    cpio.file("usr/share/doc/odd", b"123"),
    cpio.folder("proc"),
    cpio.link("bin/sh", "busybox"),
    cpio.character_device("dev/console", 0o600, 5, 1),
]


def archive(entries: list[cpio.Entry]) -> bytes:
    """The whole archive."""
    return b"".join(cpio.build_archive(entries))


def test_cpio_lists_what_was_put_in(tool: Callable[[str], str]) -> None:
    """Types, modes, sizes, targets and device numbers, folders before what they hold."""
    done = subprocess.run([tool("cpio"), "-itvn"], input=archive(ENTRIES), capture_output=True, check=True)
    listed = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(words[0], *words[8:]) for words in listed if words[0][0] != "c"] == [
        ("drwxr-xr-x", "bin"),
        ("lrwxrwxrwx", "bin/sh", "->", "busybox"),
        ("drwxr-xr-x", "dev"),
        ("-rwxr-xr-x", "init"),
        ("drwxr-xr-x", "proc"),
        ("drwxr-xr-x", "usr"),
        ("drwxr-xr-x", "usr/share"),
        ("drwxr-xr-x", "usr/share/doc"),
        ("-rw-r--r--", "usr/share/doc/odd"),
    ]
    assert [words[:6] for words in listed if words[0][0] == "c"] == [["crw-------", "1", "0", "0", "5,", "1"]]
    assert done.stderr == b"1 block\n" or done.stderr.endswith(b" blocks\n")


def test_cpio_unpacks_the_contents(tool: Callable[[str], str], tmp_path: Path) -> None:
    """The bytes of a file whose size is no multiple of four, and of the one after it."""
    entries = [cpio.file(f"folder/{size}", bytes(range(size))) for size in range(9)]
    subprocess.run([tool("cpio"), "-id", "--quiet"], input=archive(entries), cwd=tmp_path, check=True)
    assert [(tmp_path / f"folder/{size}").read_bytes() for size in range(9)] == [bytes(range(s)) for s in range(9)]


def test_order_of_entries_does_not_matter() -> None:
    """The same contents give the same bytes."""
    assert archive(ENTRIES) == archive(ENTRIES[::-1]) == archive([*ENTRIES, ENTRIES[0]])


def test_archive_ends_at_a_block() -> None:
    """512 bytes, as cpio's own; nothing of the time or of an owner is in the headers."""
    data = archive([cpio.file("a", b"x")])
    assert len(data) % cpio.BLOCK == 0
    assert data[:6] == b"070701"
    assert data[22:38] == b"0" * 16  # uid, gid
    assert data[46:54] == b"0" * 8  # mtime


def test_two_contents_for_one_name_are_refused() -> None:
    """The one that came last would win without a word."""
    with pytest.raises(InitrdError, match="/a would be in the initramfs twice"):
        archive([cpio.file("a", b"x"), cpio.file("a", b"y")])


def test_file_too_big_for_the_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size field would wrap."""
    monkeypatch.setattr(cpio, "MAX_FILE_SIZE", 3)
    with pytest.raises(InitrdError, match="/a is bigger"):
        archive([cpio.file("a", b"1234")])


def test_entries_have_their_type() -> None:
    """Mode bits say what an entry is."""
    kinds = [stat.S_IFMT(entry.mode) for entry in ENTRIES]
    assert kinds == [stat.S_IFREG, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR]
