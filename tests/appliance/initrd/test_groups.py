"""Groups, hardware maps and what the kernel's command line may overwrite: KIWI's lists of MAC addresses."""

from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import MAC, Shell
from tests.appliance.initrd.stubs import LookUp, Stub, http_stub
from tests.appliance.initrd.test_lookup import MISSES

GROUP = f"KIWI_GROUP='pos, office'\npos_KIWI_MAC_LIST='00:11:22:33:44:55,{MAC}'\n".encode()


def test_group_that_lists_the_machine(look_up: LookUp) -> None:
    """Its own name, the group file, the group's configuration: nothing else is asked."""
    stub, outcome, _ = look_up({"KIWI/config.group": GROUP, "KIWI/config.pos": b"A=1\n", "KIWI/config.default": b"B=1"})
    assert (outcome, stub.asked) == ("0 KIWI/config.pos", [*MISSES[:2], "KIWI/config.pos"])


@pytest.mark.parametrize(
    "group",
    [
        b"KIWI_GROUP='pos'\npos_KIWI_MAC_LIST='00:11:22:33:44:55'\n",
        b"KIWI_GROUP='pos'\noffice_KIWI_MAC_LIST='" + MAC.encode() + b"'\n",
        b"KIWI_GROUP='pos'\npos_KIWI_MAC_LIST='" + MAC.encode() + b":00'\n",
        b"KIWI_GROUP='* $(reboot)'\n",
    ],
)
def test_group_without_the_machine(look_up: LookUp, group: bytes) -> None:
    """The search goes on with the address."""
    stub, outcome, _ = look_up({"KIWI/config.group": group, "KIWI/config.default": b"A=2\n"})
    assert (outcome, stub.asked) == ("0 KIWI/config.default", [*MISSES, "KIWI/config.default"])


def test_group_without_its_configuration(look_up: LookUp) -> None:
    """One line that names both files."""
    _, outcome, said = look_up({"KIWI/config.group": GROUP})
    assert "FAILED: KIWI/config.group puts 52:54:00:A1:B2:C3 into pos, but" in said + outcome
    assert "has no KIWI/config.pos: add it" in said + outcome


def test_group_file_without_groups(look_up: LookUp) -> None:
    """As KIWI's client, but it says what is missing."""
    _, outcome, said = look_up({"KIWI/config.group": b"A=1\n"})
    assert "has no KIWI_GROUP" in said + outcome


@pytest.mark.parametrize(
    ("listed", "is_in"),
    [
        (MAC, True),
        (MAC.lower(), True),
        (f"AA:BB:CC:DD:EE:FF {MAC}", True),
        (f"AA:BB:CC:DD:EE:FF,\t{MAC},", True),
        (MAC.replace(":", "."), False),
        (f"{MAC}:00", False),
        ("", False),
        ("*", False),
    ],
)
def test_lists_of_machines(shell: Shell, listed: str, is_in: bool) -> None:
    """Blanks or commas between them, letters of either case, whole addresses only."""
    assert shell('names_machine "$1" "$2"', listed, MAC).returncode == (0 if is_in else 1)


MAPS = """
server=127.0.0.1:$1 kiwiservertype=http from=test config_name=KIWI/config.pos
read_config "$2" KIWI/config.pos
apply_hardware_maps "$3"
say "$config_image $config_unionfs"
"""
CONFIG = f"""
IMAGE='old'
UNIONFS_CONFIG='kept'
HARDWARE_MAP='other foo bar'
foo_HARDWARE_MAP='{MAC}'
bar_HARDWARE_MAP='AA:BB:CC:DD:EE:FF {MAC}'
"""


def apply_maps(shell: Shell, folder: Path, files: dict[str, bytes]) -> tuple[list[str], str]:
    """What was asked for, and the last line that was said."""
    (folder / "config").write_text(CONFIG)
    with http_stub(Stub(files)) as stub:
        done = shell(MAPS, str(stub.port), folder / "config", MAC)
    return stub.asked, done.stdout.decode().splitlines()[-1]


def test_hardware_maps_are_read_over_the_configuration(shell: Shell, tmp_path: Path) -> None:
    """Every map that has the machine, in their order; keys they don't have stay."""
    files = {
        "/KIWI/hardware_config.foo": b"IMAGE=foo\nHARDWARE_MAP=x\n",
        "/KIWI/hardware_config.bar": b"IMAGE=bar\n",
    }
    asked, said = apply_maps(shell, tmp_path, files)
    assert asked == ["/KIWI/hardware_config.foo", "/KIWI/hardware_config.bar"]
    assert said == "rootwire: bar kept"


def test_missing_hardware_map(shell: Shell, tmp_path: Path) -> None:
    """One line that names both files."""
    _, said = apply_maps(shell, tmp_path, {"/KIWI/hardware_config.foo": b"IMAGE=foo\n"})
    assert "KIWI/config.pos puts 52:54:00:A1:B2:C3 into the hardware map bar, but" in said
    assert "has no KIWI/hardware_config.bar: add it" in said


@pytest.mark.parametrize(
    ("config", "cmdline", "roots"),
    [
        ("NBDROOT='a;b'\n", "NBDROOT=c;d", "a;b|"),
        ("NBDROOT='a;b'\nALLOW_CMDLINE_OVERWRITE=yes\n", "NBDROOT=c;d", "c;d|"),
        ("NBDROOT='a;b'\nALLOW_CMDLINE_OVERWRITE=yes\n", "AOEROOT=/dev/etherd/e0.1", "|/dev/etherd/e0.1"),
        ("NBDROOT='a;b'\nALLOW_CMDLINE_OVERWRITE=yes\n", "quiet", "a;b|"),
    ],
)
def test_roots_of_the_command_line(shell: Shell, tmp_path: Path, config: str, cmdline: str, roots: str) -> None:
    """Only where the configuration allows it; then all of its own are dropped."""
    (tmp_path / "config").write_text(config)
    (tmp_path / "cmdline").write_text(cmdline)
    script = 'parse_cmdline "$1"; read_config "$2" name; apply_overwrites'
    script += '; printf "%s|%s" "$config_nbdroot" "$config_aoeroot"'
    said = shell(script, tmp_path / "cmdline", tmp_path / "config").stdout.decode()
    assert said.splitlines()[-1] == roots


def test_error_interrupt_ends_the_boot(shell: Shell) -> None:
    """Its text is shown as text."""
    done = shell('taken_count=0; take_config_value ERROR_INTERRUPT "$1"; apply_overwrites', "stolen\x1b[2J")
    assert (done.returncode, done.stdout) == (9, b"rootwire: FAILED: ERROR_INTERRUPT: stolen[2J\n")
