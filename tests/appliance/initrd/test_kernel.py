"""Where a kernel's modules are looked for: folders, .deb files, packages and meta packages."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.initrd.errors import InitrdError
from appliance.initrd.kernel import find_kernel, open_kernel, version_key


def ignore(line: str) -> None:
    """Progress nobody looks at."""


def make_versions(folder: Path, *versions: str) -> None:
    """Kernel versions, each with a folder of modules."""
    for version in versions:
        (folder / version / "kernel").mkdir(parents=True)


@pytest.fixture
def package(tmp_path: Path, tool: Callable[[str], str]) -> Callable[..., Path]:
    """package(name, depends, *versions): builds a .deb that holds these kernel versions."""

    def build(name: str, depends: str, *versions: str) -> Path:
        tree, target = tmp_path / f"tree-{name}", tmp_path / "archive"
        make_versions(tree / "lib/modules", *versions) if versions else None
        (tree / "DEBIAN").mkdir(parents=True)
        target.mkdir(exist_ok=True)
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
        subprocess.run([tool("dpkg-deb"), "--build", tree, target / f"{name}.deb"], capture_output=True, check=True)
        return target / f"{name}.deb"

    return build


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt's two programs, answering from the packages built here instead of from a mirror."""
    programs = tmp_path / "programs"
    programs.mkdir()
    held = tmp_path / "archive"
    (programs / "apt-get").write_text(f'#!/bin/sh\n[ "$2" = download ] && cp "{held}/$3.deb" .\n')
    (programs / "apt-cache").write_text(f'#!/bin/sh\ndpkg-deb -f "{held}/$3.deb"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return held


def test_versions_sort_as_people_read_them() -> None:
    """By the numbers in them."""
    versions = ["6.1.0-9-amd64", "6.10.0-1-amd64", "6.1.0-56-cloud-amd64", "6.9.1", "5.10.0-30-amd64"]
    assert sorted(versions, key=version_key) == [versions[4], versions[0], versions[2], versions[3], versions[1]]


@pytest.mark.parametrize("holder", ["lib/modules", "usr/lib/modules", "."])
def test_newest_version_in_a_folder(tmp_path: Path, holder: str) -> None:
    """Of several installed kernels the newest, wherever in the folder they are."""
    make_versions(tmp_path / holder, "6.1.0-9-amd64", "6.1.0-56-amd64", "5.10.0-99-amd64")
    (tmp_path / holder / "6.99-leftover").mkdir()
    found = find_kernel(tmp_path)
    assert (found.version, found.modules) == ("6.1.0-56-amd64", tmp_path / holder / "6.1.0-56-amd64")


def test_folder_may_be_the_version_itself(tmp_path: Path) -> None:
    """Its firmware is looked for beside it, then in the system."""
    make_versions(tmp_path / "lib/modules", "6.1.0-9-amd64")
    firmware = tmp_path / "lib/firmware/acme.bin.xz"
    firmware.parent.mkdir()
    firmware.touch()
    found = find_kernel(tmp_path / "lib/modules/6.1.0-9-amd64")
    assert found.version == "6.1.0-9-amd64"
    assert found.find_firmware("acme.bin") == firmware
    assert found.find_firmware("nosuch.bin") is None


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("{folder}", "holds no kernel modules; give a folder with lib/modules/VERSION or a package"),
        ("{folder}/nosuch", "no such folder or file"),
        ("No Package", "no such folder or file"),
        ("-o=x", "no such folder or file"),
        ("linux-image-nosuch", "looking up the package linux-image-nosuch (run: apt-get update"),
        ("linux-image-6.1.0-0-nosuch", "downloading the package linux-image-6.1.0-0-nosuch (run: apt-get update"),
    ],
)
def test_wrong_kernel_is_one_line(tmp_path: Path, archive: Path, kernel: str, message: str) -> None:
    """What it is and what to do."""
    with pytest.raises(InitrdError) as caught, open_kernel(kernel.format(folder=tmp_path), ignore):
        pass
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_package_file(package: Callable[..., Path]) -> None:
    """A .deb is unpacked while the kernel is used, and removed after."""
    file = package("linux-image-6.1.0-9-amd64", "", "6.1.0-9-amd64")
    with open_kernel(str(file), ignore) as kernel:
        assert (kernel.version, kernel.modules.is_dir()) == ("6.1.0-9-amd64", True)
    assert not kernel.modules.exists()


def test_file_that_is_no_package(tmp_path: Path) -> None:
    """dpkg's own words, after what was being done."""
    (tmp_path / "a.deb").write_text("no archive")
    with pytest.raises(InitrdError, match=r"unpacking .*a\.deb failed: "), open_kernel(str(tmp_path / "a.deb"), ignore):
        pass


def test_package_by_name(archive: Path, package: Callable[..., Path]) -> None:
    """A package that names a version stands for itself."""
    package("linux-image-6.1.0-9-amd64", "kmod, linux-base (>= 4.3~)", "6.1.0-9-amd64")
    with open_kernel("linux-image-6.1.0-9-amd64", ignore) as kernel:
        assert kernel.version == "6.1.0-9-amd64"


def test_meta_package(archive: Path, package: Callable[..., Path]) -> None:
    """The kernel that a meta package depends on is the one downloaded."""
    package("linux-image-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64 (= 6.1.1-1)")
    package("linux-image-6.1.0-9-cloud-amd64", "", "6.1.0-9-cloud-amd64")
    said: list[str] = []
    with open_kernel("linux-image-cloud-amd64", said.append) as kernel:
        assert kernel.version == "6.1.0-9-cloud-amd64"
    assert said == ["downloading linux-image-6.1.0-9-cloud-amd64", "unpacking linux-image-6.1.0-9-cloud-amd64.deb"]


def test_package_whose_modules_are_in_another(archive: Path, package: Callable[..., Path]) -> None:
    """Ubuntu's shape: the image depends on a package of modules."""
    package("linux-image-generic", "linux-image-6.8.0-1-generic, linux-firmware")
    package("linux-image-6.8.0-1-generic", "kmod, linux-modules-6.8.0-1-generic")
    package("linux-modules-6.8.0-1-generic", "", "6.8.0-1-generic")
    with open_kernel("linux-image-generic", ignore) as kernel:
        assert kernel.version == "6.8.0-1-generic"


def test_package_without_a_kernel(archive: Path, package: Callable[..., Path]) -> None:
    """Downloaded, unpacked, and found to hold none."""
    package("hello", "")
    with pytest.raises(InitrdError, match="--kernel hello holds no kernel modules"), open_kernel("hello", ignore):
        pass
