"""Kernel command lines: one for each way, complete, and none where a client would misread it."""

import pytest

from appliance.config import Root
from appliance.deployment.cmdline import ROWS, Place, command_line
from appliance.deployment.kinds import CLUES, Kind

PLACE = Place("10.77.0.2", "edge.x86_64-1.2.0", "e0.1")
MEDIUM = Place("10.77.0.2", "live.iso", "e0.2", 3_000_000_001)


def words(kind: Kind, root: Root, place: Place = PLACE) -> str:
    """The words of one command line."""
    line = command_line(kind, root, place)
    assert line is not None
    return line.words


def test_there_is_a_row_for_every_way_that_is_claimed() -> None:
    """An initramfs is never said to mount a root that nobody can tell it to."""
    assert {(kind, root) for root, kind, _ in CLUES} == set(ROWS)


@pytest.mark.parametrize(
    ("kind", "root", "said"),
    [
        (Kind.OWN, "nbd", "kiwiserver=10.77.0.2"),
        (Kind.KIWI_OVERLAY, "nbd", "root=overlay:nbd=10.77.0.2:edge.x86_64-1.2.0"),
        (Kind.KIWI_OVERLAY, "aoe", "root=overlay:aoe=e0.1"),
        (Kind.LIVENET, "ram", "root=live:http://10.77.0.2/image/edge.x86_64-1.2.0"),
        (Kind.DRACUT_NBD, "nbd", "root=nbd:10.77.0.2:edge.x86_64-1.2.0:squashfs:ro"),
        (Kind.LIVE_BOOT, "ram", "fetch=http://10.77.0.2/image/edge.x86_64-1.2.0.squashfs"),
        (Kind.NBD_CLIENT, "nbd", "nbdroot=10.77.0.2,edge.x86_64-1.2.0,nbd0"),
        (Kind.KIWI_NETBOOT, "nbd", "kiwiserver=10.77.0.2"),
        (Kind.KIWI_LIVE_AOE, "aoe", "rd.kiwi.live.pxe"),
        (Kind.KIWI_LIVE_AOE, "aoe", "root=live:AOEINTERFACE=e0.1"),
    ],
)
def test_the_root_is_named_as_the_client_reads_it(kind: Kind, root: Root, said: str) -> None:
    """KIWI's table 4.6."""
    assert said in words(kind, root).split()


@pytest.mark.parametrize("kind", [Kind.KIWI_OVERLAY, Kind.LIVENET, Kind.DRACUT_NBD])
def test_dracut_is_told_to_bring_the_network_up(kind: Kind) -> None:
    """Without these it waits for a disk."""
    root = next(root for row, root in ROWS if row is kind)
    assert {"ip=dhcp", "rd.neednet=1"} <= set(words(kind, root).split())


def test_only_kiwis_protocol_gets_an_address_of_the_loader() -> None:
    """To the others ip=CLIENT:SERVER:... would be static addressing without an interface."""
    appended = {kind: command_line(kind, root, PLACE) for kind, root in ROWS}
    assert {kind: line.ipappend for kind, line in appended.items() if line} == {
        kind: 3 if kind in (Kind.OWN, Kind.KIWI_NETBOOT) else 2 for kind in Kind
    }


@pytest.mark.parametrize(
    ("kind", "root", "said"),
    [
        (Kind.KIWI_LIVE, "ram", "root=live:http://10.77.0.2/image/live.iso"),
        (Kind.KIWI_LIVE, "aoe", "root=live:AOEINTERFACE=e0.2"),
        (Kind.LIVENET, "ram", "root=live:http://10.77.0.2/image/live.iso"),
        (Kind.LIVE_BOOT, "ram", "fetch=http://10.77.0.2/image/live.iso"),
        (Kind.CASPER, "ram", "url=http://10.77.0.2/image/live.iso"),
        (Kind.ARCHISO, "nbd", "archiso_nbd_name=live.iso"),
    ],
)
def test_a_medium_is_named_as_the_client_reads_it(kind: Kind, root: Root, said: str) -> None:
    """By its whole name, which ends in .iso."""
    assert said in words(kind, root, MEDIUM).split()


@pytest.mark.parametrize("kind", [Kind.KIWI_LIVE, Kind.KIWI_NETBOOT])
def test_a_ram_disk_is_larger_than_what_goes_into_it(kind: Kind) -> None:
    """In KiB, though KIWI's documentation says bytes; never less than it would be without a word."""
    (size,) = (word for word in words(kind, "ram", MEDIUM).split() if word.startswith("ramdisk_size="))
    assert int(size.partition("=")[2]) * 1024 > MEDIUM.size
    assert "ramdisk_size=512000" in words(kind, "ram", Place("10.77.0.2", "small.iso", "e0.1", 1000)).split()


def test_an_image_that_is_called_squashfs_already_keeps_its_name() -> None:
    """live-boot needs the ending once."""
    assert words(Kind.LIVE_BOOT, "ram", Place("10.0.0.1", "live.squashfs", "e0.1")).endswith("/image/live.squashfs")


def test_what_dracut_would_take_for_a_port_is_not_said() -> None:
    """An image called 12 boots by another client."""
    assert command_line(Kind.DRACUT_NBD, "nbd", Place("10.0.0.1", "12", "e0.1")) is None
    assert command_line(Kind.LIVENET, "nbd", PLACE) is None
