"""Traps of the grammar: a configuration is code, however much it looks like a table (KIWI linuxrc, importFile)."""

import re
from collections.abc import Iterator

from pydantic import ValidationError

from appliance.kiwi.finding import Complaint, error, warning
from appliance.kiwi.model import FIELDS, read_model
from appliance.kiwi.site import Document, Site

_TRAILING = re.compile(r"""\w+=(["']).*\1\s*#""")
_HARMLESS = re.compile(r"(export\s+|\s+)?\w+\s*=.*")


def config_is_code(document: Document, site: Site) -> Iterator[Complaint]:
    """A line that is no assignment at column 1 is run by root."""
    for line in document.lines:
        if line.is_code:
            lost = "; the quote in it swallows the lines after it" if line.spoils_rest else ""
            mend = "write KEY='value' from the first column" if _HARMLESS.fullmatch(line.text) else "take the line out"
            yield error(line.number, f"root runs this line in the client's initrd: {line.text[:60]!r}{lost}", mend)


def value_goes_on_with_backslash(document: Document, site: Site) -> Iterator[Complaint]:
    """Documentation continues values over lines; no client does."""
    for line in document.lines:
        if line.text.rstrip("\r").endswith("\\"):
            yield error(line.number, "the value is damaged, and all later keys are lost", "write it on one line")


def comment_behind_value(document: Document, site: Site) -> Iterator[Complaint]:
    """A comment behind the quotes is not one."""
    for line in document.lines:
        if line.key is not None and _TRAILING.match(line.text):
            yield error(line.number, f"the comment becomes part of {line.key}", "put it on a line of its own")


def lines_end_as_on_windows(document: Document, site: Site) -> Iterator[Complaint]:
    """Values end in a carriage return, and so no name in them is found."""
    bad = [line.number for line in document.lines if line.text.endswith("\r")]
    if bad:
        yield error(bad[0], f"{len(bad)} values end in a carriage return", "save the file with LF line ends (dos2unix)")


def value_unreadable(document: Document, site: Site) -> Iterator[Complaint]:
    """Something that no client can do anything with, or that would reach a command of its."""
    try:
        read_model(document.values)
    except ValidationError as failure:
        for problem in failure.errors():
            place = [str(part) for part in problem["loc"]]
            key = next((name for name in place if name in document.values), place[0])
            known = "fails with this value" if key in FIELDS else "may run part of this value"
            message = f"{' '.join(part for part in place if part != key)}: {problem['msg']}".lstrip(": ")
            yield error(document.line_of(key), f"the client {known}: {message[:160]}", f"correct {key}")


def key_set_twice(document: Document, site: Site) -> Iterator[Complaint]:
    """The last one holds."""
    for line in document.lines:
        if line.key is not None and document.line_of(line.key) > line.number:
            yield warning(line.number, f"{line.key} is set again further down, which holds", "keep one of them")


TRAPS = (
    config_is_code,
    value_goes_on_with_backslash,
    comment_behind_value,
    lines_end_as_on_windows,
    key_set_twice,
)
