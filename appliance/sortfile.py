"""The order of a boot as mksquashfs reads it: a line a file, its path and its priority, the highest first.

mksquashfs -sort (sort.c of 4.5.1): a line is split at white space, a backslash keeps the character behind it, a line
that begins with # is skipped, and a path that ends in /* stands for its folder; files it does not name have priority 0.
"""

from collections.abc import Iterable, Iterator

HIGHEST = 32767
LINE_MOST = 16383  # bytes of a line, its end included
SPECIAL = b"\\ \t\v\f\r#"


def write_sort_file(names: Iterable[bytes]) -> Iterator[bytes]:
    """The lines for files in the order in which they are to lie in the image; a name that has no line is left out.

    Past the 32767th all have the same priority, which is still above that of the rest.
    """
    priority = HIGHEST
    for name in dict.fromkeys(names):
        if not can_be_named(name):
            continue
        line = b"%s %d\n" % (escape(name), priority)
        if len(line) > LINE_MOST:
            continue
        priority = max(1, priority - 1)
        yield line


def can_be_named(name: bytes) -> bool:
    """Whether mksquashfs has a way to say this name."""
    return b"\n" not in name and name != b"" and not name.endswith(b"/*")


def escape(name: bytes) -> bytes:
    """The name with a backslash before what would end it, or make a comment of it."""
    return b"".join(b"\\%c" % byte if byte in SPECIAL else b"%c" % byte for byte in name)
