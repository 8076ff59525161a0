"""Tables as TOML text; Python's own tomllib only reads."""

from collections.abc import Mapping

import tomli_w

Table = Mapping[str, object]  # of text, whole numbers and switches, and of lists and tables of such


def write_tables(content: Table) -> str:
    """The text of tables; what is not printable in it is spelled by its number, for it may be read on a terminal."""
    return "".join(map(_escape, tomli_w.dumps(content)))


def _escape(character: str) -> str:
    """Whatever needs it stands inside a basic string: all else that is written is ASCII (TOML 1.0, String)."""
    return character if character == "\n" or character.isprintable() else f"\\U{ord(character):08x}"
