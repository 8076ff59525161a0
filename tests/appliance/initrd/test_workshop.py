"""Rootwire's own initramfs, made from the modules in an image; and images that would have it hold other things."""

import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.deployment import workshop
from appliance.deployment.archive import read_members
from appliance.deployment.kinds import Initramfs, Kind, recognise
from appliance.deployment.workshop import make_own_initrd, own_initrd_name
from appliance.initrd.errors import InitrdError
from appliance.initrd.kernel import find_kernel
from storage import squashfs
from storage.image import FileImage
from storage.squashfs import Squashfs

VERSION = "6.1.0-test"
MODULES = f"/lib/modules/{VERSION}"


@pytest.fixture
def files_in(tool: Callable[[str], str], tmp_path: Path) -> Callable[[Path], Squashfs]:
    """files_in(folder): the folder as an image, opened."""

    def make(folder: Path) -> Squashfs:
        for name in ("busybox", "nbd-client", "depmod"):
            tool(name)
        path = tmp_path / "image.squashfs"
        subprocess.run([tool("mksquashfs"), str(folder), str(path), "-noappend", "-quiet"], check=True)
        return squashfs.open(FileImage(path))

    return make


def make(files: Squashfs, output: Path, extra: Path | None = None) -> set[str]:
    """Make an initramfs and give the names of what is in it."""
    make_own_initrd(files, MODULES, VERSION, output, extra=extra, progress=lambda line: None)
    return {member.name for member in read_members(FileImage(output), lambda name: False)}


def test_it_is_made_of_the_modules_in_the_image(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path
) -> None:
    """What drivers need comes along, with firmware; the rest stays; and it is one that mounts every root."""
    names = make(files_in(kernel_folder), tmp_path / "initrd")
    assert {f"lib/modules/{VERSION}/kernel/{name}.ko" for name in ("nbd", "aoe", "r8169", "realtek")} <= names
    assert f"lib/modules/{VERSION}/kernel/sound.ko" not in names
    assert "lib/firmware/acme/card.bin" in names
    found = recognise(FileImage(tmp_path / "initrd"))
    assert found == Initramfs({"nbd": Kind.OWN, "aoe": Kind.OWN, "ram": Kind.OWN}, frozenset({VERSION}))


def test_its_extra_archive_is_made_of_them_too(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path
) -> None:
    """For machines with disks: their drivers are in the one and not in the other."""
    disks = f"lib/modules/{VERSION}/kernel/ahci.ko"
    assert disks not in make(files_in(kernel_folder), tmp_path / "initrd", tmp_path / "extra")
    names = {member.name for member in read_members(FileImage(tmp_path / "extra"), lambda name: False)}
    assert {disks, "sbin/sfdisk", "lib/rootwire/extra"} <= names


@pytest.mark.parametrize("tables", [True, False])
def test_compressed_modules_are_unpacked(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path, tables: bool
) -> None:
    """With the image's tables, and by depmod where it has none."""
    folder = kernel_folder / MODULES.lstrip("/")
    for path in list((folder / "kernel").iterdir()):
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    table = folder / "modules.dep"
    table.write_text(table.read_text().replace(".ko", ".ko.xz")) if tables else table.unlink()
    names = make(files_in(kernel_folder), tmp_path / "initrd")
    assert {f"lib/modules/{VERSION}/kernel/nbd.ko", "lib/firmware/acme/card.bin"} <= names


@pytest.mark.parametrize("path", ["../../../../etc/nbd.ko", "/etc/nbd.ko", "kernel/../../nbd.ko", "kernel/nb d.ko"])
def test_tables_that_lead_out_of_the_image_are_refused(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path, path: str
) -> None:
    """A file of this machine must not be handed to whoever asks for the initramfs."""
    with (kernel_folder / MODULES.lstrip("/") / "modules.dep").open("a") as table:
        table.write(f"{path}:\n")
    with pytest.raises(InitrdError, match=r"leads elsewhere|repair the image"):
        make(files_in(kernel_folder), tmp_path / "initrd")
    assert not (tmp_path / "initrd").exists()


def test_tables_that_are_no_text_are_refused(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path
) -> None:
    """One error, that names the remedy."""
    (kernel_folder / MODULES.lstrip("/") / "modules.dep").write_bytes(b"kernel/nbd.ko: \xff\xfe\n")
    with pytest.raises(InitrdError, match="repair the image"):
        make(files_in(kernel_folder), tmp_path / "initrd")


def test_a_module_that_unpacks_without_end_is_put_down(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As are many that together fill the disk."""
    monkeypatch.setattr(workshop, "FILE_MOST", 1 << 20)
    folder = kernel_folder / MODULES.lstrip("/")
    (folder / "kernel/nbd.ko.xz").write_bytes(lzma.compress(bytes(2 << 20)))
    table = folder / "modules.dep"
    table.write_text(table.read_text().replace("kernel/nbd.ko:", "kernel/nbd.ko.xz:"))
    with pytest.raises(InitrdError, match="more than modules of a kernel have"):
        make(files_in(kernel_folder), tmp_path / "initrd")


def test_a_module_its_tables_name_but_it_lacks_is_named(
    files_in: Callable[[Path], Squashfs], kernel_folder: Path, tmp_path: Path
) -> None:
    """Half an image."""
    (kernel_folder / MODULES.lstrip("/") / "kernel/nbd.ko").unlink()
    with pytest.raises(InitrdError, match=r"the image has no .*/kernel/nbd\.ko"):
        make(files_in(kernel_folder), tmp_path / "initrd")


def test_firmware_names_stay_below_their_folder(kernel_folder: Path) -> None:
    """A module may name any file; only those of the firmware folders are looked for."""
    found = find_kernel(kernel_folder)
    shutil.copy(kernel_folder / "lib/firmware/acme/card.bin", kernel_folder / "lib/secret")
    assert found.find_firmware("acme/card.bin") is not None
    assert found.find_firmware("../secret") is None
    assert found.find_firmware("/etc/passwd") is None


def test_its_name_changes_with_what_it_is_made_from() -> None:
    """Another image, another kernel: another file; the same: the same, across restarts."""
    name = own_initrd_name("edge-1", "v1", VERSION)
    assert name == own_initrd_name("edge-1", "v1", VERSION)
    assert len({name, own_initrd_name("edge-1", "v2", VERSION), own_initrd_name("edge-1", "v1", "6.2")}) == 3
