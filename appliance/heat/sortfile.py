"""The order of a boot as mksquashfs reads it: a line a file, its path and its priority, the highest first.

A boot's files come last, behind those that are not named and have priority 0: the end of an image is where its tables
are, which every boot reads in between, again and again. At the beginning, they would be a whole image away from them.

mksquashfs -sort (sort.c of 4.5.1): a line is split at white space, a backslash keeps the character behind it, a line
that begins with # is skipped, and a path that ends in /* stands for its folder.
"""

from collections.abc import Iterable, Iterator

HIGHEST = -1
LOWEST = -32768
LINE_MOST = 16383  # bytes of a line, its end included
SPECIAL = b"\\ \t\v\f\r#"


def write_sort_file(names: Iterable[bytes]) -> Iterator[bytes]:
    """The lines for files in the order in which they are to lie in the image; a name that has no line is left out.

    Past the 32768th all have the same priority.
    """
    priority = HIGHEST
    for name in dict.fromkeys(names):
        if not can_be_named(name):
            continue
        line = b"%s %d\n" % (escape(name), priority)
        if len(line) > LINE_MOST:
            continue
        priority = max(LOWEST, priority - 1)
        yield line


def can_be_named(name: bytes) -> bool:
    """Whether mksquashfs has a way to say this name."""
    return b"\n" not in name and name != b"" and not name.endswith(b"/*")


def escape(name: bytes) -> bytes:
    """The name with a backslash before what would end it, or make a comment of it."""
    return b"".join(b"\\%c" % byte if byte in SPECIAL else b"%c" % byte for byte in name)
