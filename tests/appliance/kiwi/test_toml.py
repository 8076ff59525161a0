"""Tables as text: read by Python's own reader they are what they were."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from appliance.kiwi.toml import write_tables

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SCALARS = TEXTS | st.booleans() | st.integers(-(2**62), 2**62)
ROWS = st.dictionaries(TEXTS, SCALARS, max_size=4)
VALUES = SCALARS | ROWS | st.lists(SCALARS, max_size=6) | st.lists(ROWS, max_size=3)
TABLES = st.dictionaries(TEXTS, st.recursive(VALUES, lambda inner: st.dictionaries(TEXTS, inner, max_size=3)))


def without_empty(table: object) -> object:
    """The same, less tables in tables that hold nothing: they have no heading where they are all there is."""
    if isinstance(table, dict):
        return {key: less for key, value in table.items() if (less := without_empty(value)) != {}}
    return table


@given(TABLES)
def test_what_is_written_is_read(table: dict[str, object]) -> None:
    """Whatever is in texts and keys."""
    text = "\n".join(write_tables(table))
    assert without_empty(tomllib.loads(text)) == without_empty(table)


def test_it_looks_as_typed_in() -> None:
    """Short tables and lists on a line, rows under each other, the rest under a heading."""
    client: dict[str, object] = {
        "disk": "/dev/sda",
        "part": [{"size": 512, "type": "82"}, {"type": "83", "mount": "/"}],
        "unionfs_config": {"rw": "tmpfs", "ro": "/dev/ram1"},
        "reboot_image": True,
        "variables": {"A": "x" * 100},
    }
    lines = write_tables({"kiwi": {"machines": {"52:54:00:a1:b2:c3": {"client": client}}}})
    assert list(lines) == [
        "",
        '[kiwi.machines."52:54:00:a1:b2:c3".client]',
        'disk = "/dev/sda"',
        "part = [",
        '    { size = 512, type = "82" },',
        '    { type = "83", mount = "/" },',
        "]",
        'unionfs_config = { rw = "tmpfs", ro = "/dev/ram1" }',
        "reboot_image = true",
        "",
        '[kiwi.machines."52:54:00:a1:b2:c3".client.variables]',
        f'A = "{"x" * 100}"',
    ]


def test_nothing_unprintable_reaches_a_terminal() -> None:
    """Names of hooks' variables are anybody's, and so are their values."""
    assert list(write_tables({"a": "\x9b31m\x7f\u202e"})) == [r'a = "\U0000009b31m\U0000007f\U0000202e"']
