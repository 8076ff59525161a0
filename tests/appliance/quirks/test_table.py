"""Which row is a machine's, and who has the last word."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import Config, load_config
from appliance.errors import OperatorError
from appliance.quirks import table
from appliance.quirks.model import Effects, Match, QuirkSettings, Row
from appliance.quirks.table import Quirks, shipped_rows
from protocols.dhcp.request import Architecture, BootRequest
from tests.appliance.quirks.requests import HTTP, IPXE, PC, PI

OWN_ROW = Row(name="own", match=Match(ouis=("001b21",)), story="because", flow="binl")


def quirks(toml: str, tmp_path: Path, group_of: Callable[[str], str | None] = lambda mac: None) -> Quirks:
    """The table, as a configuration has it."""
    config = config_of(toml, tmp_path)
    machines = {mac: machine.quirks for mac, machine in config.machines.items() if machine.quirks}
    return Quirks(config.quirks, machines=machines, group_of=group_of)


def config_of(toml: str, tmp_path: Path) -> Config:
    """A configuration that says this."""
    path = tmp_path / "rootwire.toml"
    path.write_text(toml)
    return load_config(path)


@pytest.mark.parametrize(
    ("request_", "row"),
    [
        (PC, None),
        (IPXE, "ipxe"),
        (replace(IPXE, mac=PI.mac), "ipxe"),
        (replace(IPXE, mac="b0:26:28:00:00:01"), "ipxe-broadcom"),
        (HTTP, "uefi-http"),
        (PI, "raspberry-pi-5"),
        (replace(PI, mac="b8:27:eb:00:00:01"), "raspberry-pi-3"),
        (replace(PI, mac="dc:a6:32:00:00:01"), "raspberry-pi-4"),
        (replace(PC, architecture=Architecture.ARM_RPIBOOT), "raspberry-pi"),
        (replace(PC, mac="00:e0:4c:68:00:01"), "realtek-uefi"),
        (replace(PC, mac="00:e0:4c:68:00:01", architecture=Architecture.X86_BIOS), None),
        (replace(PC, mac="52:54:00:00:00:01"), "qemu-ovmf"),
        (replace(PC, mac="18:66:da:00:00:01"), "dell-poweredge"),
        (replace(PC, undi="3.16"), "surface"),
        (replace(PC, architecture=Architecture.X86_BIOS, undi="2.1"), "bios-undi-2"),
        (replace(PC, architecture=None, undi=None, uuid=None, vendor_class=""), None),
    ],
)
def test_shipped_row(request_: BootRequest, row: str | None) -> None:
    """The first that fits."""
    applied = Quirks(QuirkSettings()).apply(request_)
    assert (applied.row and applied.row.name) == row


def test_shipped_rows_are_worth_their_place() -> None:
    """Each has a name of its own, does something, and says where it is known from."""
    rows = shipped_rows()
    assert len({row.name for row in rows}) == len(rows)
    assert all(Effects().with_others(row) != Effects() and row.source for row in rows)


def test_nothing_is_known_of_a_machine() -> None:
    """It is offered everything at once, and nobody had a say."""
    applied = Quirks(QuirkSettings()).apply(PC)
    assert (applied.flow, applied.name, applied.effects) == ("complete", "", Effects())


def test_own_rows_come_first() -> None:
    """Before those that come with rootwire."""
    applied = Quirks(QuirkSettings(rows=(OWN_ROW,))).apply(replace(IPXE, user_classes=("iPXE",)))
    assert (applied.name, applied.flow) == ("own", "binl")


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(uuid="12345678-9ABC"), True),
        (Match(uuid="12345679"), False),
        (Match(user_class="iPXE"), False),
        (Match(vendor_class="PXEClient:Arch:00007"), True),
        (Match(architectures=(7,), undi="3.0"), True),
        (Match(architectures=(7,), undi="3.1"), False),
        (Match(ouis=("001b21", "b827eb")), True),
        (Match(), True),
    ],
)
def test_match(match: Match, fits: bool) -> None:
    """A row fits when all that it names does."""
    assert match.fits(PC) == fits


def test_last_word(tmp_path: Path) -> None:
    """The row, then prefixes, the longest last, the group, the machine itself; what one says nothing of stays."""
    toml = """
        [quirks.ouis."d8:3a:dd"]
        blksize_max = 512
        [quirks.ouis."d8:3a"]
        blksize_max = 600
        window_max = 2
        [quirks.groups.pis]
        flow = "menu"
        menu_items = 3
        [machines."d8-3a-dd-00-00-01".quirks]
        flow = "binl"
    """
    applied = quirks(toml, tmp_path, lambda mac: "pis").apply(PI)
    assert applied.places == (
        "raspberry-pi-5",
        '[quirks.ouis."d83a"]',
        '[quirks.ouis."d83add"]',
        "[quirks.groups.pis]",
        '[machines."d8:3a:dd:00:00:01".quirks]',
    )
    effects = applied.effects
    assert (effects.blksize_max, effects.window_max, effects.menu_items) == (512, 2, 3)
    assert (applied.flow, effects.banner) == ("binl", "Raspberry Pi Boot")


def test_false_is_a_word_too(tmp_path: Path) -> None:
    """What is set to no is not what is not set."""
    applied = quirks('[quirks.ouis."00:1b:21"]\nfrag_ok = false\nadaptive = false', tmp_path).apply(PC)
    assert (applied.effects.frag_ok, applied.effects.adaptive) == (False, False)


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        ('[quirks.ouis."00:1b:21"]\nflow = "fast"', "quirks.ouis.00:1b:21.flow"),
        ('[quirks.ouis."00:1b:21"]\nfloww = "binl"', "quirks.ouis.00:1b:21.floww"),
        ('[quirks.ouis."intel"]\nflow = "binl"', "quirks.ouis.intel"),
        ('[machines."00:1b:21:00:00:01".quirks]\nblksize_max = 4', "machines.00:1b:21:00:00:01.quirks.blksize_max"),
        ('[machines."00:1b:21:00:00:01".quirks]\nloader = "../etc/passwd"', "quirks.loader"),
        ('[[quirks.rows]]\nname = "x"\nmatch = {}', "quirks.rows.0.story"),
    ],
)
def test_mistakes_in_the_configuration(toml: str, place: str, tmp_path: Path) -> None:
    """Each is one line that names the key."""
    with pytest.raises(OperatorError) as caught:
        config_of(toml, tmp_path)
    assert place in str(caught.value)


def test_last_request_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By MAC and by UUID, of so many machines, the oldest going first."""
    monkeypatch.setattr(table, "MACHINES_MAX", 2)
    known = Quirks(QuirkSettings())
    for machine in (PC, PI, replace(PC, via="4011"), replace(PC, mac="02:00:00:00:00:03", uuid=None)):
        known.note(machine)
    assert known.last(PI.mac) is None
    assert known.last(PC.mac) == replace(PC, via="4011")
    assert known.by_uuid("12345678-9abc-def0-1122-334455667788") == replace(PC, via="4011")
    assert known.by_uuid("00000000-0000-0000-0000-000000000000") is None
