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


@given(TABLES)
def test_what_is_written_is_read(table: dict[str, object]) -> None:
    """Whatever is in texts and keys."""
    assert tomllib.loads(write_tables(table)) == table


def test_nothing_unprintable_reaches_a_terminal() -> None:
    """Names of hooks' variables are anybody's, and so are their values."""
    text = write_tables({"a": "\x9b31m\x7f\u202e\t"})
    assert set(text) - {"\n"} <= set(map(chr, range(32, 127)))
    assert tomllib.loads(text) == {"a": "\x9b31m\x7f\u202e\t"}
