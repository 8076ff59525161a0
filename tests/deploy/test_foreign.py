"""Debian's packages for other processors: which are fetched, and what is said when they can't be."""

from pathlib import Path

import pytest

from deploy.demo import foreign
from deploy.demo.foreign import Port, loader_packages, main
from deploy.lab.errors import LabError


@pytest.mark.parametrize(
    ("port", "packages"),
    [
        ("amd64", ["grub-efi-amd64-bin", "grub-efi-amd64-signed", "shim-signed"]),
        ("arm64", ["grub-efi-arm64-bin", "grub-efi-arm64-signed", "shim-signed"]),
        ("armhf", ["grub-efi-arm-bin"]),
    ],
)
def test_packages_of_a_processor(port: str, packages: list[str]) -> None:
    """Those that are for it alone: what is for all is installed as ever."""
    assert loader_packages(port) == packages


@pytest.mark.parametrize("words", [[], ["sparc"], ["arm64", "sparc"]])
def test_unknown_processors_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that names those there are."""
    assert main(words) == 2
    assert capsys.readouterr().err == "loaders: name one or more of amd64, arm64, armhf, riscv64\n"


def test_a_failure_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What apt says, and nothing of Python's."""

    def fail(command: list[str], cwd: Path | None = None) -> str:
        raise LabError("apt-get failed with status 100: no such package")

    monkeypatch.setattr(foreign, "run_tool", fail)
    assert main(["riscv64"]) == 1
    assert capsys.readouterr().err == "loaders: apt-get failed with status 100: no such package\n"


def test_a_meta_package_stands_for_a_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its version is apt's to know."""
    shown = "Package: linux-image-cloud-arm64\nDepends: linux-image-6.1.0-56-cloud-arm64 (= 6.1.192-2)\n"
    monkeypatch.setattr(foreign, "run_tool", lambda command: shown)
    assert Port("arm64", tmp_path).meaning("linux-image-cloud-arm64") == "linux-image-6.1.0-56-cloud-arm64"
