"""KIWI's netboot client, scripted: what it asks for, in its order, over real TFTP and HTTP, and what it gets.

The contract's fixtures, as far as they are requests; what is asked is what the appliance has seen. "boots" are those
that need a machine: there the same is asked by a client initramfs in QEMU.

    F1, F3       test_f1_and_f3_ramdisk_by_the_default (F1b, F1c: the client's own arithmetic; boots)
    F2           test_kiwi_transfers: test_f2_...
    F3b          test_kiwi_transfers: test_f3b_...
    F4, F6       boots (tests/boots/test_requests); what is asked over TFTP and HTTP: test_f4_and_f6_remote_roots
    F5, F6b      boots, with a machine's own disks
    F7           boots (tests/boots/test_nfs), with an NFS server beside the appliance
    F8, F9, F10  boots, with local disks
    F11          test_f11_group_and_hardware_map
    F12          test_f12_...
    F13          test_f13_subnet
    F14          test_f14_... here (names, a file of 0 bytes) and in test_kiwi_transfers (images, TFTP options, loss)
    F15 to F17   boots: what asks is a distribution's initramfs
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from appliance.enrolment.command import enroll
from appliance.enrolment.members import Enrolments
from appliance.errors import OperatorError
from appliance.exports.names import Kind, name_of
from appliance.kiwi.conversion import convert
from appliance.kiwi.roots import Private
from appliance.kiwi.site import Site
from tests.appliance.kiwi.scripted import F1, IMAGE, MAC, MISS10, OWN, REGISTRATION, SQUASHFS, SUM, Start, serving


@pytest.fixture
def start(tmp_path: Path, tool: Callable[[str], str]) -> Start:
    """Serves a tree made of some files (by their paths in KIWI/) and one image, over TFTP and HTTP."""
    return partial(serving, tmp_path, tool("curl"))


CONF = "CONF='conf/xorg;/etc/X11/xorg.conf;10.11.0.1;4096'\n"
VENDOR = "VENDOR_CONF='conf/xorg.foo;/etc/X11/xorg.conf;10.11.0.1;4096'\n"
GROUPED: dict[str, Any] = {
    "config.group": f"KIWI_GROUP='pos, office'\npos_KIWI_MAC_LIST='{MAC} 52:54:00:A1:B2:C4'\n",
    "config.pos": f"{F1}{CONF}HARDWARE_MAP='foo'\nfoo_HARDWARE_MAP='{MAC}'\n",
    "config.office": F1,
    "hardware_config.foo": VENDOR,
}

BOTH = pytest.mark.parametrize("kind", ["tftp", "http"])


@BOTH
async def test_f1_and_f3_ramdisk_by_the_default(start: Start, kind: str) -> None:
    """Ten misses, the default configuration, the checksum that was made, the image."""
    async with start(**{"config.default": F1}) as box:
        client = box.clients[kind]
        assert await client.look_up() == F1.encode()
        assert await client.get(f"{IMAGE}.md5") == SUM
        assert await client.get(IMAGE) == SQUASHFS
    assert client.asked == [
        *((path, False) for path in MISS10),
        ("KIWI/config.default", True),
        (f"{IMAGE}.md5", True),
        (IMAGE, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n",
        "AOEROOT='/dev/etherd/e0.1'\nUNIONFS_CONFIG='tmpfs,aoe,overlay'\n",
    ],
    ids=["f4", "f6"],
)
async def test_f4_and_f6_remote_roots(start: Start, text: str) -> None:
    """The machine's own configuration is the first and the last thing it asks for."""
    async with start(**{"config.52-54-00-a1-b2-c3": text}) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == text.encode()
    assert client.asked == [(OWN, True)]


async def test_f11_group_and_hardware_map(start: Start) -> None:
    """They are one final configuration, which names the map's file and not the group's."""
    async with start(**GROUPED) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == (F1 + CONF + VENDOR).encode()
        assert await client.get("conf/xorg.foo") == b"xorg.foo"
    assert client.asked == [(OWN, True), ("conf/xorg.foo", True)]


async def test_f11_as_tables_is_answered_alike(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """What rootwire convert makes of the tree, without it: each machine is told the same, and a stranger nothing."""
    names = [f"KIWI/config.{mac}" for mac in (MAC, "52:54:00:A1:B2:C4", "52:54:00:A1:B2:C5")]
    async with serving(tmp_path / "files", tool("curl"), **GROUPED) as box:
        by_files = [await box.clients["http"].get(name) for name in names]
        tables: Any = convert(Site(box.root)).as_table()["kiwi"]
    assert [text is not None for text in by_files] == [True, True, False]
    async with serving(tmp_path / "tables", tool("curl"), kiwi={"unknown": "register", **tables}) as box:
        assert [await box.clients["http"].get(name) for name in names] == by_files


@BOTH
async def test_f12_registration_is_answered(start: Start, kind: str) -> None:
    """Eleven misses, an upload; once it is enrolled, the next look-up finds its configuration at once."""
    group = {"client": {"nbdroot": {"export": "edge.x86_64-1.2.0"}, "unionfs_config": "tmpfs,nbd,overlay"}}
    async with start(kiwi={"unknown": "register", "groups": {"pos": group}}) as box:
        client = box.clients[kind]
        assert await client.look_up() is None
        assert client.asked == [(path, False) for path in (*MISS10, "KIWI/config.default")]
        await client.put(f"upload/client.{MAC}", REGISTRATION)
        (waiting,) = box.registrations.reports()
        assert (waiting["mac"], waiting["alias"], waiting["waiting"]) == (MAC.lower(), "till 1", True)
        await enroll(MAC, "pos", box.socket)
        found = await client.look_up()
        assert found == b"NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n"
        assert [(one["group"], one["waiting"]) for one in box.registrations.reports()] == [("pos", False)]
        assert Enrolments(box.root)[MAC.lower()] == "pos"  # as after a restart


@pytest.mark.parametrize("rule", [{"prefixes": ["52-54-00"]}, {"architectures": ["x86_64"]}])
async def test_f12_rules_answer_by_themselves(start: Start, rule: dict[str, object]) -> None:
    """By the first digits of the MAC, or by what the machine says it is; from a group of the tree here."""
    async with start(kiwi={"unknown": "register", "groups": {"pos": rule}}, **{"config.pos": F1}) as box:
        await box.clients["http"].put(f"upload/client.{MAC}", REGISTRATION)
        assert await box.clients["tftp"].look_up() == F1.encode()


async def test_a_machine_of_its_own_table(start: Start) -> None:
    """Typed in KIWI's own words; private exports are one machine's."""
    root = "10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0;swap-525400A1B2C3;/dev/nbd1;rw-525400A1B2C3;/dev/nbd2"
    async with start(kiwi={"machines": {MAC: {"client": {"NBDROOT": root}}}}) as box:
        assert await box.clients["http"].look_up() == f"NBDROOT='{root}'\n".encode()


async def test_a_group_of_which_each_machine_has_its_own_disk(start: Start) -> None:
    """F5's line for each, though only one was typed in; what one was given is not kept for another."""
    other = "52:54:00:00:00:09"
    client = {"nbdroot": {"export": "edge.x86_64-1.2.0"}, "unionfs_config": "tmpfs,nbd,overlay"}
    kiwi = {"groups": {"pos": {"client": client, "macs": [MAC, other]}}}

    def private(mac: str) -> Private:
        return Private(name_of(Kind.WRITE, mac), name_of(Kind.SWAP, mac))

    async with start(kiwi=kiwi, private=private) as box:
        for mac in (MAC, other, MAC):
            swap, write = name_of(Kind.SWAP, mac), name_of(Kind.WRITE, mac)
            assert (
                await box.clients["http"].get(f"KIWI/config.{mac}")
                == (
                    f"NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0;{swap};/dev/nbd1;{write};/dev/nbd2'\n"
                    "UNIONFS_CONFIG='nbd,nbd,overlay'\n"
                ).encode()
            )
        kept = [place.read_text() for place in (box.root / ".rootwire/kiwi").iterdir()]
        assert sorted(mac in text for text in kept for mac in ("rw-525400A1B2C3", "rw-525400000009")) == [
            *(False, False, True, True)
        ]


@pytest.mark.parametrize("unknown", ["boot", "register"])
async def test_what_everybody_is_told_may_be_typed_in(start: Start, unknown: str) -> None:
    """As KIWI/config.default, and the answer to the first question where nothing else can apply; a file comes first."""
    kiwi = {"unknown": unknown, "client": {"nbdroot": {"export": "edge.x86_64-1.2.0"}}}
    async with start(kiwi=kiwi) as box:
        client = box.clients["http"]
        assert await client.look_up() == b"NBDROOT='10.11.0.1;edge.x86_64-1.2.0;/dev/nbd0'\n"
        assert [there for _, there in client.asked] == ([True] if unknown == "boot" else [False] * 10 + [True])
        (box.root / "KIWI/config.default").write_text(F1)
        assert await client.look_up() == F1.encode()


async def test_a_table_with_an_error_is_not_served(start: Start) -> None:
    """Nor is anything else in its place: an image that there is not."""
    client = {"IMAGE": "/dev/ram1;none;1"}
    async with start(kiwi={"machines": {MAC: {"client": client}}}) as box:
        assert await box.clients["http"].get(OWN) is None


async def test_f12_nobody_enrols_over_the_network(start: Start) -> None:
    """Nor into a group that there is not, which is said."""
    async with start(kiwi={"unknown": "register", "groups": {"pos": {}}}) as box:
        http = box.clients["http"]
        await http.run("-X", "POST", f"{http.url}/api/registrations/{MAC}?group=pos")
        assert list(box.members.enrolled) == []
        with pytest.raises(OperatorError, match="no group tills"):
            await enroll(MAC, "tills", box.socket)


async def test_f13_subnet(start: Start) -> None:
    """Six misses, then the four digits of a network of 65,536 addresses."""
    async with start(**{"config.0A0B": F1}) as box:
        client = box.clients["tftp"]
        assert await client.look_up() == F1.encode()
    assert client.asked == [*((path, False) for path in MISS10[:6]), ("KIWI/config.0A0B", True)]


@pytest.mark.parametrize("spelling", ["52.54.00.A1.B2.C3", "52-54-00-a1-b2-c3", "525400a1b2c3", MAC.lower(), MAC])
async def test_f14_every_spelling_of_a_mac(start: Start, spelling: str) -> None:
    """Asked in any, written in another."""
    async with start(**{"config.52.54.00.A1.B2.C3": F1}) as box:
        assert await box.clients["tftp"].get(f"KIWI/config.{spelling}") == F1.encode()
        assert await box.clients["http"].get(f"KIWI/config.{spelling}") == F1.encode()


async def test_f14_an_empty_default_is_missing(start: Start) -> None:
    """Nothing is found, and so it registers."""
    async with start(**{"config.default": ""}) as box:
        assert await box.clients["http"].look_up() is None
