"""A tree as tables: by them every machine ends with the configuration that it ended with by the files."""

import json
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import Config
from appliance.kiwi.compiler import compile_config
from appliance.kiwi.conversion import LeftOut, convert
from appliance.kiwi.groups import resolve
from appliance.kiwi.model import ClientConfig, read_model
from appliance.kiwi.site import Site
from appliance.kiwi.toml import write_tables
from protocols.ethernet import format_mac
from tests.appliance.kiwi.conftest import MAC_CONFIG, Write
from tests.appliance.kiwi.test_compiler import MODELS, SERVER
from tests.appliance.test_cli import complaint, rootwire

MAC, OTHER, THIRD = "52:54:00:a1:b2:c3", "52:54:00:a1:b2:c4", "52:54:00:a1:b2:c5"
F1 = "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;4096'\nUNIONFS_CONFIG='/dev/ram2,/dev/ram1,overlay'\n"
IMAGE = "desk.x86_64;3.0.1;10.11.0.1;32768"
MAPPED = "HARDWARE_MAP='foo'\nfoo_HARDWARE_MAP='52:54:00:A1:B2:C3'\n"
XORG = "/etc/X11/xorg.conf;10.11.0.1;4096'\n"

# The configurations of the contract's fixtures, by file; those that have none of their own are not here.
FIXTURES: dict[str, dict[str, str]] = {
    "f1": {"config.default": F1},
    "f2": {MAC_CONFIG[5:]: "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;8192;compressed-xz'\n"},
    "f2_gzip": {MAC_CONFIG[5:]: "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;8192;compressed'\n"},
    "f3b": {"config.default": f"{F1}kiwiserver='10.11.0.1'\nkiwiservertype='http'\n"},
    "f4": {MAC_CONFIG[5:]: "NBDROOT='10.11.0.1;edge-root;/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n"},
    "f5": {
        MAC_CONFIG[5:]: "NBDROOT='10.11.0.1;edge-root;/dev/nbd0;swap-5254;/dev/nbd1;rw-525400A1B2C3;/dev/nbd2'\n"
        "UNIONFS_CONFIG='nbd,nbd,overlay'\n"
    },
    "f6": {MAC_CONFIG[5:]: "AOEROOT='/dev/etherd/e0.1'\nUNIONFS_CONFIG='tmpfs,aoe,overlay'\n"},
    "f6b": {MAC_CONFIG[5:]: "AOEROOT='/dev/etherd/e0.1,/dev/etherd/e17.1'\nUNIONFS_CONFIG='aoe,aoe,overlay'\n"},
    "f7": {MAC_CONFIG[5:]: "NFSROOT='10.11.0.1;/srv/nfs/edge'\nUNIONFS_CONFIG='tmpfs,nfs,overlay'\n"},
    "f8": {
        MAC_CONFIG[5:]: f"DISK='/dev/sda'\nPART='512;82;x,x;83;/'\nIMAGE='/dev/sda2;{IMAGE}'\n"
        "CONF='conf/hosts;/etc/hosts;10.11.0.1;4096;h1'\nKIWI_KERNEL_OPTIONS='nomodeset'\n"
        "KIWI_BOOT_TIMEOUT='10'\nkiwi_boot_timeout='10'\n"
    },
    "f9": {
        MAC_CONFIG[5:]: "DISK='/dev/sda'\nPART='512;82;x,2000;83;/,x;83;x'\n"
        "UNIONFS_CONFIG='/dev/sda3,/dev/sda2,overlay'\nIMAGE='/dev/sda2;edge.x86_64;1.2.0;10.11.0.1;4096'\nKIWI_INITRD='/boot/initrd'\nKIWI_KERNEL='/boot/linux'\n"
    },
    "f10": {
        MAC_CONFIG[5:]: f"DISK='/dev/sda'\nRAID='1;/dev/sda;/dev/sdb'\nPART='512;S;x,x;L;/'\nIMAGE='/dev/md1;{IMAGE}'\n"
    },
    "f11": {
        "config.group": "KIWI_GROUP='pos, office'\npos_KIWI_MAC_LIST='52:54:00:A1:B2:C3, 52-54-00-a1-b2-c4'\n",
        "config.pos": f"{F1}CONF='conf/xorg;{XORG}{MAPPED}",
        "config.office": F1,
        "hardware_config.foo": f"VENDOR_CONF='conf/xorg.foo;{XORG}",
    },
    "f14_empty": {MAC_CONFIG[5:]: "", "config.default": ""},
}


def put(tree: Path, files: Mapping[str, str | bytes]) -> Site:
    """A tree with these files in its KIWI/."""
    (tree / "KIWI").mkdir()
    for name, text in files.items():
        (tree / "KIWI" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Site(tree)


def by_files(site: Site, mac: str) -> bytes | None:
    """What the files come to for a machine, those for everybody included."""
    found = resolve(site, mac)
    default = site.default()
    values = found.values if found else default.values if default else None
    return None if values is None else compile_config(read_model(values), SERVER)


def by_tables(config: Config, mac: str) -> bytes | None:
    """What the tables come to for it."""
    own = config.kiwi.machines.get(mac)
    groups = [group.client for group in config.kiwi.groups.values() if mac in group.macs]
    clients = [*([own.client] if own else []), *groups, config.kiwi.client]
    return next((compile_config(client, SERVER) for client in clients if client), None)


def converted(site: Site) -> tuple[Config, list[LeftOut]]:
    """The tables as an appliance reads them from their text, and what is in none of them."""
    tables = convert(site)
    return Config.model_validate(tomllib.loads(write_tables(tables.as_table()))), tables.left_out


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures_come_to_the_same(tmp_path: Path, name: str) -> None:
    """For the machine, its neighbour, and a stranger."""
    site = put(tmp_path, FIXTURES[name])
    config, left_out = converted(site)
    assert [by_tables(config, mac) for mac in (MAC, OTHER, THIRD)] == [
        by_files(site, mac) for mac in (MAC, OTHER, THIRD)
    ]
    assert left_out == []


MACS = st.sampled_from([bytes((0x52, 0x54, 0, 0, 0, number)) for number in range(6)]).map(format_mac)
SPELLINGS = st.sampled_from([str.upper, lambda mac: mac.replace(":", "-"), lambda mac: mac.upper().replace(":", ".")])
GROUPS = st.sampled_from(["tills", "desks", "halls"])


@st.composite
def trees(draw: st.DrawFn) -> dict[str, str]:
    """Files of machines, of groups that share some of them, maps over both, and one for everybody."""

    def text(model: ClientConfig, mapped: bool) -> str:
        listed = " ".join(draw(st.lists(MACS, max_size=4)))
        lookup = f"HARDWARE_MAP='m'\nm_HARDWARE_MAP='{listed}'\n" if mapped else ""
        return compile_config(model, SERVER).decode() + lookup

    own = draw(st.sets(MACS, max_size=3))
    files = {f"config.{draw(SPELLINGS)(mac)}": text(draw(MODELS), draw(st.booleans())) for mac in own}
    names = draw(st.lists(GROUPS, unique=True))
    lists = [f"{name}_KIWI_MAC_LIST='{','.join(draw(st.lists(MACS, max_size=5)))}'\n" for name in names]
    if names:
        files["config.group"] = f"KIWI_GROUP='{' '.join(names)}'\n{''.join(lists)}"
    files |= {f"config.{name}": f"{text(draw(MODELS), draw(st.booleans()))}in_group='{name}'\n" for name in names}
    if draw(st.booleans()):
        files["config.default"] = f"{compile_config(draw(MODELS), SERVER).decode()}everybody='yes'\n"
    return {**files, "hardware_config.m": f"{compile_config(draw(MODELS), SERVER).decode()}by_map='yes'\n"}


@settings(max_examples=25)  # a tree has up to a dozen models of forty keys
@given(trees())
def test_any_tree_comes_to_the_same(files: dict[str, str]) -> None:
    """Whoever is listed where; what is left out are maps that nobody is in, and groups of nobody that have one."""
    with tempfile.TemporaryDirectory() as folder:
        site = put(Path(folder), files)
        config, left_out = converted(site)
        for number in range(7):
            mac = format_mac(bytes((0x52, 0x54, 0, 0, 0, number)))
            assert by_tables(config, mac) == by_files(site, mac)
    reasons = {left.reason for left in left_out}
    assert reasons <= {
        "no configuration adds it to a machine's",
        "its machines are not known, and so not what a map adds to each",
    }


@pytest.mark.parametrize(
    ("files", "place", "reason"),
    [
        ({"config.default": f"{F1}reboot -f\n"}, "KIWI/config.default:3", "root runs this line"),
        ({"config.default": "A='1' # note\n"}, "KIWI/config.default:1", "the comment becomes part of A"),
        ({"config.default": "A=1 \\\nB=2\n"}, "KIWI/config.default:1", "all later keys are lost"),
        ({"config.default": "A=1\r\n"}, "KIWI/config.default:1", "carriage return"),
        ({"config.default": "PART='X;83;/'\n"}, "KIWI/config.default:1", "size"),
        ({"config.default": b"A='" + b"x" * 70_000}, "KIWI/config.default", "is longer than"),
        ({"config.0A0B": F1}, "KIWI/config.0A0B", "is asked for by address"),
        ({"config.group": "KIWI_GROUP='pos'\n"}, "KIWI/config.group:1", "KIWI/config.pos is missing"),
        ({"config.group": "exit\n", "config.pos": F1}, "KIWI/config.pos", "nobody knows who is in it"),
        ({"config.a-b": F1}, "KIWI/config.a-b", "can't be the name of a group"),
        ({"config.pos": f"{F1}{MAPPED}"}, "KIWI/config.pos:3", "its machines are not known"),
        ({MAC_CONFIG[5:]: f"{F1}{MAPPED}"}, f"{MAC_CONFIG}:3", "KIWI/hardware_config.foo is missing"),
        ({"hardware_config.bar": F1}, "KIWI/hardware_config.bar", "no configuration adds it"),
        ({MAC_CONFIG[5:]: F1, "config.52-54-00-a1-b2-c3": "A=1\n"}, "KIWI/config.52-54-00-a1-b2-c3", "and wins"),
        (
            {"config.default": f"{F1}{MAPPED}", "config.0A": F1, "hardware_config.foo": "A=1\n"},
            "KIWI/config.default:3",
            "address decides before",
        ),
    ],
)
def test_what_no_table_says_is_named(tmp_path: Path, files: dict[str, str | bytes], place: str, reason: str) -> None:
    """By file and line, and why."""
    _, left_out = converted(put(tmp_path, files))
    assert any(left.place == place and reason in left.reason for left in left_out), left_out


def test_a_machine_whose_file_stays_is_in_no_table(tmp_path: Path) -> None:
    """Not in its group's either: the file that can't be read comes first."""
    groups = f"KIWI_GROUP='pos'\npos_KIWI_MAC_LIST='{MAC} {OTHER}'\n"
    site = put(tmp_path, {MAC_CONFIG[5:]: "reboot\n", "config.group": groups, "config.pos": F1})
    config, _ = converted(site)
    assert list(config.kiwi.machines) == []
    assert config.kiwi.groups["pos"].macs == (OTHER,)


def test_the_map_of_the_default_adds_to_machines_that_have_nothing_else(tmp_path: Path) -> None:
    """One final configuration for each of them; the others are told what is for everybody."""
    site = put(tmp_path, {"config.default": f"{F1}{MAPPED}", "hardware_config.foo": "A='1'\n"})
    config, left_out = converted(site)
    assert by_tables(config, MAC) == f"{F1}A='1'\n".encode()
    assert by_tables(config, OTHER) == F1.encode()
    assert left_out == []


def test_the_command(write: Write) -> None:
    """Tables to standard output, the rest to standard error."""
    tree = write({MAC_CONFIG: F1, "KIWI/config.0A0B": F1})
    done = rootwire("convert", tree)
    assert (done.returncode, list(tomllib.loads(done.stdout)["kiwi"]["machines"])) == (1, [MAC])
    assert done.stderr.splitlines() == [
        "KIWI/config.0A0B: left out: is asked for by address, for which there are no tables: leave it where it is",
        "tables for no groups, 1 machine; 1 thing left out",
    ]
    (tree / "KIWI/config.0A0B").unlink()
    done = rootwire("convert", "--json", tree)
    assert (done.returncode, json.loads(done.stdout)["left_out"]) == (0, [])


def test_no_tree_is_a_mistake(tmp_path: Path) -> None:
    """Said in one line."""
    assert complaint(rootwire("convert", tmp_path)) == f"rootwire: {tmp_path} has no folder KIWI: name a boot tree\n"
