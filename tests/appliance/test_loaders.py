"""Loader files: only those of the table, wherever Debian's links lead, and what to install when one is missing."""

import os
from pathlib import Path

import pytest

from appliance.loaders import LOADER_FILES, LOADERS, find_loader_file, missing_files, missing_loaders, remedy


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A system with every package installed, ipxe.efi a link into /boot as Debian has it."""
    for file in LOADER_FILES.values():
        folder = tmp_path / file.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).write_bytes(file.name.encode())
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
    ]


def test_remedy(tmp_path: Path) -> None:
    """One line with all that is to be typed."""
    missing = missing_files("pxelinux.0", tmp_path)
    assert remedy(missing) == "pxelinux.0 and ldlinux.c32 not installed: run apt install pxelinux syslinux-common"


def test_every_loader_of_the_table_is_a_loader_file() -> None:
    """And so is all that any needs."""
    named = {name for names in LOADERS.values() for name in names}
    assert named | {need for file in LOADER_FILES.values() for need in file.needs} <= LOADER_FILES.keys()


@pytest.mark.parametrize("name", [name for names in LOADERS.values() for name in names])
def test_debian_has_them_there(name: str) -> None:
    """The table matches Debian's packages as deploy/setup installs them."""
    if not Path("/usr/lib/ipxe").is_dir() and os.environ.get("REQUIRE_INTEROP") != "1":
        pytest.skip("this test needs Debian's boot loaders: run sudo deploy/setup")
    assert missing_files(name) == ()
