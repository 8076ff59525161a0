"""PART and RAID: what they may say, and partition tables as sfdisk makes and reads them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import Shell

PARSE = 'config_raid=${2:-} disk=/dev/sda; parse_part "$1"; cat "$RUN/parts"; printf "root %s" "$part_root"'


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("512;82;x,x;83;/", ["1 512 82 x", "2 x 83 /", "root /dev/sda2"]),
        ("5;S;x,62;L;/,x;L;x,", ["1 5 82 x", "2 62 83 /", "3 x 83 x", "root /dev/sda2"]),
        ("2G;S;swap,100M;L;/boot,X;V;X", ["1 2048 82 x", "2 100 83 /boot", "3 x 8e x", "root "]),
        ("9;83", ["1 9 83 x", "root "]),
    ],
)
def test_part(shell: Shell, value: str, lines: list[str]) -> None:
    """Letters as numbers, units as MiB, swap and x as no folder, a comma too many as none."""
    assert shell(PARSE, value).stdout.decode().splitlines() == lines


def test_part_of_a_mirror(shell: Shell) -> None:
    """Every entry is a part of md0, md1, ..."""
    said = shell(PARSE, "512;82;x,x;83;/", "1;/dev/sda;/dev/sdb").stdout.decode().splitlines()
    assert said == ["1 512 fd x", "2 x fd /", "root /dev/md1"]


@pytest.mark.parametrize(
    "value",
    [
        "x;83;/,9;82;x",
        "0;83;/",
        "-1;83;/",
        "9;zz;/",
        "9;83;data",
        "9;83;/../etc",
        "9",
        "x;83;/$(x)",
        "08;83;/",
        "9;83;/," * 17,
    ],
)
def test_bad_part(shell: Shell, value: str) -> None:
    """One line with an example, before anything is done to the disk."""
    done = shell(PARSE, value)
    assert done.returncode == 9
    assert ": write " in done.stdout.decode()


@pytest.mark.parametrize(
    ("value", "disks"),
    [("1;/dev/sda;/dev/sdb", "/dev/sda /dev/sdb"), ("1;/dev/sda;/dev/sdb,", "/dev/sda /dev/sdb")],
)
def test_raid(shell: Shell, value: str, disks: str) -> None:
    """The first disk stands for DISK."""
    assert shell('parse_raid "$1"; printf "%s|%s" "$raid_disks" "$disk"', value).stdout.decode() == f"{disks}|/dev/sda"


@pytest.mark.parametrize("value", ["5;/dev/sda;/dev/sdb", "1;/dev/sda", "1", "1;/dev/sda;sdb", "1;/dev/sda;/dev/../x"])
def test_bad_raid(shell: Shell, value: str) -> None:
    """Only mirrors, of two disks or more."""
    done = shell('parse_raid "$1"', value)
    assert done.returncode == 9
    assert "write 1;/dev/sda;/dev/sdb" in done.stdout.decode()


@pytest.mark.parametrize(
    ("disk", "name"),
    [("/dev/sda", "/dev/sda2"), ("/dev/nvme0n1", "/dev/nvme0n1p2"), ("/dev/mmcblk0", "/dev/mmcblk0p2")],
)
def test_names_of_partitions(shell: Shell, disk: str, name: str) -> None:
    """A p between two numbers."""
    assert shell('partition_name "$1" 2; printf %s "$partition"', disk).stdout.decode() == name


@pytest.fixture
def disk(tool: Callable[[str], str], tmp_path: Path) -> Path:
    """A disk that is a file, 100 MiB: sfdisk takes it as one."""
    tool("sfdisk")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    return path


TABLE = """
PATH=$PATH:/sbin:/usr/sbin
await_device() { : > "$1"; }
choose_label() { label=$LABEL; }
LABEL=$2 config_raid= disk=$1
parse_part "$3"
make_table "$1"
config_raid=$5
parse_part "$4"
table_matches "$1"
"""
PART = "16;82;x,40;83;/,x;83;/data"


@pytest.mark.parametrize("label", ["dos", "gpt"])
@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (PART, True),
        ("16;S;x,40;L;/,x;L;x", True),
        ("20;82;x,30;83;/,x;83;/data", True),
        ("16;82;x,53;83;/,x;83;/data", False),
        ("16;82;x,40;8e;/,x;83;/data", False),
        ("16;82;x,x;83;/", False),
        ("16;82;x,40;83;/,20;83;/data,x;83;/more", False),
    ],
)
def test_a_table_is_known_again(shell: Shell, disk: Path, label: str, wanted: str, matches: bool) -> None:
    """Letters are no other types, sizes may differ by 12 MiB; a table that differs in anything else is another."""
    done = shell(TABLE, disk, label, PART, wanted, "")
    assert done.stdout.decode().count("all that was on it is lost") == 1
    assert (done.returncode == 0) == matches


def test_a_table_of_another_kind_is_another(shell: Shell, disk: Path) -> None:
    """MBR where GPT is wanted, and a disk without any."""
    script = TABLE.replace("table_matches", "LABEL=gpt; table_matches")
    assert shell(script, disk, "dos", PART, PART, "").returncode == 1
    disk.write_bytes(bytes(100 << 20))
    checked = 'choose_label() { label=dos; }; config_raid=; disk=$1; parse_part "$2"; table_matches "$1"'
    assert shell("PATH=$PATH:/sbin:/usr/sbin\n" + checked, disk, PART).returncode == 1


def test_what_an_older_table_left_counts_as_nothing(shell: Shell, disk: Path) -> None:
    """The heads of new partitions are zeros: the client formats blank ones only."""
    shell(TABLE.replace('make_table "$1"', 'echo old > "$1"2; make_table "$1"'), disk, "dos", PART, PART, "")
    assert Path(f"{disk}2").read_bytes() == bytes(17 * 4096)


def test_partitions_beyond_the_disk(shell: Shell, disk: Path) -> None:
    """One line that says what to check, not a disk that is installed anew at every boot."""
    done = shell(TABLE, disk, "dos", "200;82;x,x;83;/", PART, "")
    assert done.returncode == 9
    assert "can't be partitioned" in done.stdout.decode()
