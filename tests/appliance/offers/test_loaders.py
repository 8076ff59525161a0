"""Loader files: only those of the table, wherever Debian's links lead, and what to install when one is missing."""

import os
from pathlib import Path

import pytest

from appliance.offers.loaders import (
    FETCHED,
    LINKED,
    LOADER_FILES,
    LOADERS,
    LOOK_SECONDS,
    MKIMAGE,
    NO_LOADER,
    Family,
    LoaderFile,
    RecentlyMissing,
    find_loader_file,
    loaders_for,
    missing_files,
    missing_loaders,
    remedy,
)
from protocols.dhcp.request import Architecture

# What deploy/setup does not install: Debian has it for other processors only.
FETCHED_ONLY = {"shimaa64.efi", "grub-aa64.efi", "grub-arm.efi", "grub-riscv64.efi"}


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A system with every package installed, ipxe.efi a link into /boot as Debian has it."""
    modules = [LoaderFile("kernel.img", grub.package, grub.modules) for grub in LINKED.values()]
    for file in (*LOADER_FILES.values(), MKIMAGE, *modules):
        place = tmp_path / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.name.encode())
    efi = tmp_path / LOADER_FILES["ipxe.efi"].folder / "ipxe.efi"
    (tmp_path / "boot").mkdir()
    efi.rename(tmp_path / "boot/ipxe.efi")
    efi.symlink_to("../../../boot/ipxe.efi")
    return tmp_path


@pytest.mark.parametrize("name", LOADER_FILES)
def test_every_file_is_found(system: Path, name: str) -> None:
    """By its name alone."""
    found = find_loader_file(name, system)
    assert found is not None
    assert found.read_bytes() == name.encode()


def test_link_is_followed(system: Path) -> None:
    """What is given is the file itself, which a server that follows no links can open."""
    assert find_loader_file("ipxe.efi", system) == system / "boot/ipxe.efi"


@pytest.mark.parametrize(
    "name", ["", ".", "ldlinux.c32/", "./pxelinux.0", "../PXELINUX/pxelinux.0", "PXELINUX.0", "/usr/lib/ipxe/ipxe.efi"]
)
def test_nothing_else_is_reachable(system: Path, name: str) -> None:
    """Other spellings are none of ours, nor are paths."""
    assert find_loader_file(name, system) is None


def test_file_beside_the_loaders_is_not_reachable(system: Path) -> None:
    """What else a package puts there is not served."""
    (system / LOADER_FILES["snponly.efi"].folder / "ipxe.iso").write_bytes(b"")
    assert find_loader_file("ipxe.iso", system) is None


def test_broken_link_is_not_installed(system: Path) -> None:
    """A link to nothing, as a package removed by half leaves it."""
    (system / "boot/ipxe.efi").unlink()
    assert find_loader_file("ipxe.efi", system) is None


def test_folder_is_not_installed(system: Path) -> None:
    """Only files are served."""
    path = system / LOADER_FILES["pxelinux.0"].folder / "pxelinux.0"
    path.unlink()
    path.mkdir()
    assert find_loader_file("pxelinux.0", system) is None


def test_nothing_is_missing(system: Path) -> None:
    """With every package there."""
    assert missing_files("pxelinux.0", system) == ()
    assert missing_loaders(system) == []


def test_looked_for_once_a_second() -> None:
    """And again when it is older: what was installed meanwhile is found."""
    looked: list[str] = []
    now = [10.0]

    def look(name: str) -> tuple[LoaderFile, ...]:
        looked.append(name)
        return ()

    missing = RecentlyMissing(look, lambda: now[0])
    for name in ("pxelinux.0", "pxelinux.0", "snponly.efi"):
        assert missing(name) == ()
    now[0] += LOOK_SECONDS + 0.1
    missing("pxelinux.0")
    assert looked == ["pxelinux.0", "snponly.efi", "pxelinux.0"]


def test_loader_without_what_it_needs(system: Path) -> None:
    """PXELINUX stops at once when ldlinux.c32 is not there."""
    (system / LOADER_FILES["ldlinux.c32"].folder / "ldlinux.c32").unlink()
    assert missing_files("pxelinux.0", system) == (LOADER_FILES["ldlinux.c32"],)


def test_bare_system(tmp_path: Path) -> None:
    """Each missing file once, in the table's order, with its package."""
    assert missing_loaders(tmp_path) == [
        ("pxelinux.0", "pxelinux"),
        ("ldlinux.c32", "syslinux-common"),
        ("undionly.kpxe", "ipxe"),
        ("snponly.efi", "ipxe"),
        ("ipxe.efi", "ipxe"),
        ("shimx64.efi", "shim-signed"),
        ("grubx64.efi", "grub-efi-amd64-signed"),
    ]


def test_remedy(tmp_path: Path) -> None:
    """One line with all that is to be typed."""
    missing = missing_files("pxelinux.0", tmp_path)
    assert remedy(missing) == "pxelinux.0 and ldlinux.c32 not installed: run apt install pxelinux syslinux-common"


@pytest.mark.parametrize(
    ("machine", "steps"),
    [
        ("x86_64", "deploy/loaders arm64"),
        ("aarch64", "apt install grub-efi-arm64-signed shim-signed"),
    ],
)
def test_remedy_for_another_processor(tmp_path: Path, machine: str, steps: str) -> None:
    """Debian's packages for it can't be installed beside this machine's own."""
    missing = missing_files("shimaa64.efi", tmp_path)
    assert remedy(missing, machine) == f"shimaa64.efi and grubaa64.efi not installed: run {steps}"


def test_fetched_files_are_found(tmp_path: Path) -> None:
    """Those of another processor lie in a folder of their own."""
    place = tmp_path / FETCHED / LOADER_FILES["grubaa64.efi"].path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"arm64")
    assert find_loader_file("grubaa64.efi", tmp_path) == place


@pytest.mark.parametrize(
    ("architecture", "wanted", "loaders"),
    [
        (Architecture.X64_UEFI, "auto", ("snponly.efi", "ipxe.efi", "shimx64.efi", "grub-x64.efi")),
        (Architecture.X64_UEFI_HTTP, "shim", ("shimx64.efi",)),
        (Architecture.EBC, "ipxe", ("snponly.efi", "ipxe.efi")),
        (Architecture.X86_UEFI, "auto", ("grub-ia32.efi",)),
        (Architecture.ARM64_UEFI, "ipxe", ()),
        (Architecture.LOONGARCH64_UEFI, "auto", ()),
    ],
)
def test_loaders_of_an_architecture(architecture: Architecture, wanted: Family, loaders: tuple[str, ...]) -> None:
    """The best first, or those of one family alone."""
    assert loaders_for(architecture, wanted) == loaders


def test_shim_comes_first_where_it_finds_us() -> None:
    """It boots whether signatures are enforced or not."""
    assert loaders_for(Architecture.ARM64_UEFI, shim_first=True) == ("shimaa64.efi", "grub-aa64.efi")
    assert loaders_for(Architecture.X64_UEFI, shim_first=True)[0] == "shimx64.efi"


def test_linked_grub_needs_modules_and_a_linker(system: Path) -> None:
    """Both are named when they are missing, the first under the loader's own name."""
    (system / MKIMAGE.path).unlink()
    assert missing_files("grub-ia32.efi", system) == (MKIMAGE,)
    (system / LINKED["grub-ia32.efi"].modules / "kernel.img").unlink()
    assert [file.package for file in missing_files("grub-ia32.efi", system)] == ["grub-efi-ia32-bin", "grub-common"]


def test_architectures_without_a_loader_have_none() -> None:
    """The two tables never speak of the same architecture."""
    assert not LOADERS.keys() & NO_LOADER.keys()


def test_every_loader_of_the_table_is_a_loader_file() -> None:
    """And so is all that any needs."""
    named = {name for names in LOADERS.values() for name in names}
    needed = {need for file in LOADER_FILES.values() for need in file.needs}
    assert named | needed <= LOADER_FILES.keys() | LINKED.keys()


@pytest.mark.parametrize("name", sorted({name for names in LOADERS.values() for name in names} - FETCHED_ONLY))
def test_debian_has_them_there(name: str) -> None:
    """The table matches Debian's packages as deploy/setup installs them."""
    if not Path("/usr/lib/ipxe").is_dir() and os.environ.get("REQUIRE_INTEROP") != "1":
        pytest.skip("this test needs Debian's boot loaders: run sudo deploy/setup")
    assert missing_files(name) == ()
