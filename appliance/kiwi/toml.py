"""Tables as TOML 1.0 text, laid out as a person would write them; Python's own tomllib only reads.

A list of tables is an array with a row for each, a table of plain values that fits on a line stands on it, any other
has a heading of its own. Values are text, whole numbers and switches, for no other kind is in a configuration.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

LINE_MOST = 118  # characters of a line that a table is written on

Scalar = str | int | bool
Table = Mapping[str, object]  # of scalars, and of sequences and tables of such

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_tables(content: Table, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The lines of a table and of all that are in it; `path` is where it is. Tables without a value have no heading."""
    own = {key: line for key, value in content.items() if (line := _line(key, value)) is not None}
    if path and own:
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for line in own.values():
        yield from line.split("\n")
    for key, value in content.items():
        if key not in own and isinstance(value, Mapping):
            yield from write_tables(value, (*path, key))


def _line(key: str, value: object) -> str | None:
    """A key and its value; None where that is a table with a heading of its own."""
    line = f"{_key(key)} = {_write(value)}"
    if isinstance(value, Mapping):
        is_plain = all(isinstance(each, Scalar) for each in value.values())
        return line if is_plain and len(line) <= LINE_MOST else None
    return line


def _write(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return _quote(value)
        case Mapping():
            return f"{{ {', '.join(f'{_key(key)} = {_write(each)}' for key, each in value.items())} }}"
        case Sequence() if len(value) < 4 and not any(isinstance(each, Mapping) for each in value):
            return f"[{', '.join(map(_write, value))}]"
        case Sequence():
            return "\n".join(["[", *(f"    {_write(each)}," for each in value), "]"])
    raise TypeError(f"{type(value).__name__} is no value of a configuration")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quote(key)


def _quote(text: str) -> str:
    """A basic string; what is not printable is spelled by its number, since somebody may look at it on a terminal."""
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
