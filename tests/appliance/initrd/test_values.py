"""What values must look like, and how lists of fields are taken apart."""

import pytest

from tests.appliance.initrd.conftest import Shell


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        ("is_number", ["0", "1", "65464", "999999999999"], ["", "-1", "08", "1 2", "0x10", "a", "1234567890123"]),
        (
            "is_ipv4",
            ["10.0.0.1", "255.255.255.255", "1.2.3.4"],
            ["", "0.0.0.0", "1.2.3", "1.2.3.4.5", "256.1.1.1", "a.b.c.d", "1..2.3"],
        ),
        ("is_host", ["10.0.0.1", "10.0.0.1:8080", "tftp.example"], ["", "-x", "a b", "a/b", "$(x)", "a;b", "[::1]"]),
        ("is_name", ["edge.x86_64", "rw-5254", "a/b+c:d"], ["", "-x", "/etc", "a/../b", "a b", "a;b", "a'b", "$(x)"]),
    ],
)
def test_values_are_checked(shell: Shell, check: str, good: list[str], bad: list[str]) -> None:
    """Good values pass, bad ones don't; leading zeros would be octal to the shell."""
    script = f'for value in "$@"; do {check} "$value" && printf 1 || printf 0; done'
    done = shell(script, *good, *bad)
    assert (done.stdout.decode(), done.stderr) == ("1" * len(good) + "0" * len(bad), b"")


@pytest.mark.parametrize(
    ("number", "text", "field"),
    [
        (1, "a;b;c", "a"),
        (3, "a;b;c", "c"),
        (4, "a;b;c", ""),
        (9, "a", ""),
        (6, "srv;root;/dev/nbd0;;;w;/dev/sda2", "w"),
        (2, ";b", "b"),
        (1, "", ""),
        (2, "a;*;c", "*"),
    ],
)
def test_empty_fields_keep_their_place(shell: Shell, number: int, text: str, field: str) -> None:
    """Unlike KIWI since 2014, a field is found where it was written."""
    assert shell('nth_field "$1" ";" "$2"; printf %s "$field"', str(number), text).stdout.decode() == field
