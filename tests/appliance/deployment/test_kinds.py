"""Kinds of initramfs, told by what is in them."""

from collections.abc import Mapping

import pytest

from appliance.config import Root
from appliance.deployment.kinds import Initramfs, Kind, recognise, ways_by
from storage.image import BytesImage
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import VERSION, archive


def kind_of(*files: Mapping[str, bytes]) -> Initramfs:
    """What an initramfs of these files, of each an archive, can do."""
    return recognise(BytesImage(b"".join(map(archive, files))))


@pytest.mark.parametrize(
    ("files", "ways"),
    [
        (archives.OWN, {"nbd": Kind.OWN, "aoe": Kind.OWN, "ram": Kind.OWN}),
        (archives.KIWI_OVERLAY, {"nbd": Kind.KIWI_OVERLAY, "aoe": Kind.KIWI_OVERLAY}),
        (archives.LIVENET, {"ram": Kind.LIVENET}),
        (archives.DRACUT_NBD, {"nbd": Kind.DRACUT_NBD}),
        (archives.LIVE_BOOT, {"ram": Kind.LIVE_BOOT}),
        (archives.NBD_CLIENT, {"nbd": Kind.NBD_CLIENT}),
        (archives.LOCAL, {}),
    ],
)
def test_each_kind_is_told(files: Mapping[str, bytes], ways: Mapping[Root, Kind]) -> None:
    """By whom which root is mounted, and that it is for this kernel."""
    assert kind_of(files) == Initramfs(ways, frozenset({VERSION}))


@pytest.mark.parametrize(
    ("files", "root", "ways"),
    [
        (archives.KIWI_LIVE, "iso9660", {"ram": Kind.KIWI_LIVE, "aoe": Kind.KIWI_LIVE}),
        (archives.KIWI_LIVE_AOE, "iso9660", {"aoe": Kind.KIWI_LIVE_AOE}),
        (archives.CASPER, "iso9660", {"ram": Kind.CASPER}),
        (archives.ARCHISO, "iso9660", {"nbd": Kind.ARCHISO}),
        (archives.LIVENET, "iso9660", {"ram": Kind.LIVENET}),
        (archives.LIVE_BOOT, "iso9660", {"ram": Kind.LIVE_BOOT}),
        (archives.KIWI_OVERLAY, "iso9660", {}),
        (archives.KIWI_OVERLAY, "ext", {"nbd": Kind.KIWI_OVERLAY, "aoe": Kind.KIWI_OVERLAY}),
        (archives.LIVENET, "ext", {}),
        (archives.KIWI_LIVE, "squashfs", {}),
        (archives.KIWI_NETBOOT, "ext", dict.fromkeys(("nbd", "aoe", "ram"), Kind.KIWI_NETBOOT)),
    ],
)
def test_what_a_root_is_decides_who_mounts_it(files: Mapping[str, bytes], root: str, ways: Mapping[Root, Kind]) -> None:
    """A medium's initramfs is no use for a root file system, nor the other way round."""
    assert recognise(BytesImage(archive(files)), root).ways == ways


def test_one_that_does_everything_uses_the_best_for_each_root() -> None:
    """KIWI's overlay before dracut's own NBD; from RAM by livenet."""
    modules = b"base\nnbd\nlivenet\nkiwi-overlay\n"
    found = kind_of({"early": b""}, archives.KIWI_OVERLAY | {"usr/lib/dracut/modules.txt": modules})
    assert found.ways == {"nbd": Kind.KIWI_OVERLAY, "aoe": Kind.KIWI_OVERLAY, "ram": Kind.LIVENET}


@pytest.mark.parametrize("missing", ["usr/sbin/nbd-client", archives.NBD_MODULE])
def test_nbd_is_not_claimed_without_program_and_module(missing: str) -> None:
    """Dracut's module is there, what it needs is not: AoE is left."""
    files = {name: data for name, data in archives.KIWI_OVERLAY.items() if name != missing}
    assert kind_of(files).ways == {"aoe": Kind.KIWI_OVERLAY}


def test_a_kind_that_is_named_does_all_it_can() -> None:
    """What a rule file says is taken at its word."""
    assert ways_by(Kind.KIWI_OVERLAY) == {"nbd": Kind.KIWI_OVERLAY, "aoe": Kind.KIWI_OVERLAY}
