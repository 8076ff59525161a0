"""The makers that rows of quirks are for, by IEEE's registry as Debian has it."""

import csv
import os
from pathlib import Path

import pytest

from appliance.quirks.model import Row
from appliance.quirks.table import shipped_rows

REGISTRY = Path("/usr/share/ieee-data/oui.csv")
MAKERS = {
    "ipxe-broadcom": "Broadcom",
    "raspberry-pi-3": "Raspberry Pi",
    "raspberry-pi-4": "Raspberry Pi",
    "raspberry-pi-5": "Raspberry Pi",
    "realtek-uefi": "Realtek",
    "dell-poweredge": "Dell",
    "hp-laptop": "Hewlett Packard",
}
# Assigned after Debian 12's edition, which is of August 2022; netaddr 1.3.0 has them as Raspberry Pi's.
NEWER = {"d83add", "2ccf67"}
LOCAL = 0x02  # in the first byte: nobody's, by IEEE 802 §8.2.2


@pytest.fixture(scope="module")
def registry() -> dict[str, str]:
    """Who has each OUI, by its six digits; what is missing fails CI, and skips elsewhere."""
    if not REGISTRY.is_file():
        message = "IEEE's registry is missing: apt install ieee-data"
        if os.environ.get("REQUIRE_INTEROP") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        return {line[1].lower(): line[2] for line in csv.reader(file)}


def assigned(row: Row) -> list[str]:
    """The OUIs of a row that are somebody's."""
    return [oui for oui in row.match.ouis if not int(oui[:2], 16) & LOCAL]


@pytest.mark.parametrize("row", [row for row in shipped_rows() if assigned(row)], ids=lambda row: row.name)
def test_ouis_are_of_the_maker_that_the_row_is_for(row: Row, registry: dict[str, str]) -> None:
    """A row for somebody else's cards would change what they are offered."""
    for oui in assigned(row):
        assert (oui in registry) == (oui not in NEWER), oui
        if oui in registry:
            assert registry[oui].casefold().startswith(MAKERS[row.name].casefold())
