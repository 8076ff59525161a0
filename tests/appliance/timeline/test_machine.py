"""What is remembered of a machine's own words."""

import pytest

from appliance.timeline.machine import MAX_DETAIL, printable


class TestPrintable:
    """Client-supplied text."""

    def test_terminal_controls_are_replaced(self) -> None:
        """A file name can't clear the operator's screen."""
        assert printable("a\x1b[2Jb\n\x07\udcff") == "a\ufffd[2Jb\ufffd\ufffd\ufffd"

    @pytest.mark.parametrize(("length", "end"), [(MAX_DETAIL, "x"), (MAX_DETAIL + 1, "…"), (9999, "…")])
    def test_long_names_are_shortened(self, length: int, end: str) -> None:
        """At most MAX_DETAIL characters, with a sign that there were more."""
        shown = printable("x" * length)
        assert (len(shown), shown[-1]) == (MAX_DETAIL, end)
