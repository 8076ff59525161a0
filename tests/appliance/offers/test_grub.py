"""GRUB linked for this box: once for each set of modules, with our address in it."""

import os
from pathlib import Path

import pytest

from appliance.offers.grub import Linker
from appliance.offers.loaders import LINKED, SYSTEM, find_modules

NAME = "grub-ia32.efi"
BOX = "10.77.0.2"


@pytest.fixture
def linker(tmp_path: Path) -> Linker:
    """One that links from Debian's own modules."""
    if find_modules(LINKED[NAME]) is None and os.environ.get("REQUIRE_INTEROP") != "1":
        pytest.skip("this test needs GRUB's modules: run sudo deploy/setup")
    return Linker(tmp_path / "made", BOX)


def test_it_is_a_program_for_the_platform(linker: Linker) -> None:
    """Made by GRUB's own tool, with everything it takes to boot over the network."""
    made = linker.find(NAME)
    assert made is not None
    content = made.read_bytes()
    assert content[:2] == b"MZ"
    assert f"normal (tftp,{BOX})/grub/grub.cfg".encode() in content


def test_it_is_linked_once(linker: Linker) -> None:
    """The second who asks gets the same file."""
    first = linker.find(NAME)
    assert first is not None
    made = first.stat().st_ino
    second = linker.find(NAME)
    assert second == first
    assert second.stat().st_ino == made
    assert [each.name for each in linker.folder.iterdir()] == [first.name]


def test_without_modules_there_is_none(tmp_path: Path) -> None:
    """Nothing is installed, and nothing is written."""
    linker = Linker(tmp_path / "made", BOX, root=tmp_path)
    assert linker.find(NAME) is None
    assert not linker.folder.exists()


def test_a_link_that_fails_is_no_loader(tmp_path: Path) -> None:
    """The linker is gone: the machine is told that there is no such file, the operator why."""
    modules = tmp_path / LINKED[NAME].modules
    modules.mkdir(parents=True)
    (modules / "kernel.img").write_bytes(b"")
    assert Linker(tmp_path / "made", BOX, root=tmp_path).find(NAME) is None


def test_other_loaders_are_found_as_ever(tmp_path: Path) -> None:
    """What Debian has ready is served as it is."""
    place = tmp_path / "usr/lib/ipxe"
    place.mkdir(parents=True)
    (place / "snponly.efi").write_bytes(b"x")
    linker = Linker(tmp_path / "made", BOX, root=tmp_path)
    assert linker.find("snponly.efi") == place / "snponly.efi"
    assert linker.root != SYSTEM
