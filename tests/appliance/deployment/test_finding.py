"""Kernels, initramfs archives and modules, found by the names that distributions and KIWI give them."""

from collections.abc import Callable

import pytest

from appliance.deployment.finding import Kernel, find_initrds, find_kernels, find_modules
from storage.squashfs import Squashfs
from tests.appliance.deployment.archives import VERSION, kernel
from tests.appliance.deployment.conftest import Files

FilesOf = Callable[[Files], Squashfs]
EFI_ONLY = b"MZ" + bytes(700)


@pytest.mark.parametrize(
    "path",
    [
        f"/boot/vmlinuz-{VERSION}",
        "/boot/vmlinuz",
        "/vmlinuz",
        f"/usr/lib/modules/{VERSION}/vmlinuz",
        f"/lib/modules/{VERSION}/vmlinuz",
        "/boot/vmlinuz-linux-lts",
        "/boot/linux",
        "/boot/linux.vmx",
        f"/boot/linux-{VERSION}",
        "/boot/bzImage",
        "/boot/x86_64/loader/linux",
    ],
)
def test_a_kernel_is_found_by_any_usual_name(files_of: FilesOf, path: str) -> None:
    """With the version that it says itself."""
    assert [(k.path, k.version) for k in find_kernels(files_of({path: kernel()}))] == [(path, VERSION)]


@pytest.mark.parametrize(
    "path",
    ["/boot/vmlinuz-0-rescue-abc", "/boot/vmlinuz-6.1.old", "/boot/vmlinuz 6.1", "/boot/System.map-6.1", "/linux/x"],
)
def test_what_is_no_kernel_to_boot_is_passed_over(files_of: FilesOf, path: str) -> None:
    """Rescue kernels, kept old ones, names that a loader's configuration can't hold."""
    assert find_kernels(files_of({path: kernel()})) == []


@pytest.mark.parametrize("content", [b"", b"text", b"MX" + bytes(0x220), bytes(0x202) + b"HdrS"[:3]])
def test_a_file_that_only_has_the_name_is_none(files_of: FilesOf, content: bytes) -> None:
    """A note to self called /boot/linux does not boot."""
    assert find_kernels(files_of({"/boot/linux": content})) == []


@pytest.mark.parametrize("said", ["../../etc/passwd", "x" * 300, "", "a b"[1:]])
def test_a_version_that_is_none_is_not_believed(files_of: FilesOf, said: str) -> None:
    """The header is the image's word; the file name stands in."""
    assert find_kernels(files_of({"/boot/vmlinuz-5.10": kernel(said)}))[0].version == "5.10"


def test_an_efi_program_has_its_version_in_its_name(files_of: FilesOf) -> None:
    """Without Linux's boot header nothing else says it."""
    found = find_kernels(files_of({"/boot/vmlinuz-5.10": EFI_ONLY, "/usr/lib/modules/6.1/vmlinuz": EFI_ONLY}))
    assert [k.version for k in found] == ["6.1", "5.10"]


def test_the_newest_comes_first(files_of: FilesOf) -> None:
    """As people read versions: 6.10 after 6.9."""
    files = {f"/boot/vmlinuz-{v}": kernel(v) for v in ("6.9.1-amd64", "6.10.0-amd64", "5.10.0-amd64")}
    assert [k.version for k in find_kernels(files_of(files))] == ["6.10.0-amd64", "6.9.1-amd64", "5.10.0-amd64"]


def test_links_are_the_file_they_lead_to(files_of: FilesOf) -> None:
    """One kernel with three names is one; a link that leads nowhere, or out of the image, is none."""
    path = f"/boot/vmlinuz-{VERSION}"
    files: Files = {path: kernel(), "/boot/vmlinuz": f"vmlinuz-{VERSION}", "/vmlinuz": path, "/boot/linux": "/nowhere"}
    assert find_kernels(files_of(files)) == [Kernel(path, VERSION, VERSION)]


@pytest.mark.parametrize(
    "path",
    [
        f"/boot/initrd.img-{VERSION}",
        f"/boot/initrd-{VERSION}",
        f"/boot/initramfs-{VERSION}.img",
        f"/boot/initrd-{VERSION}.gz",
        "/boot/initrd",
        "/boot/initrd.img",
        "/boot/initrd.vmx",
        "/initrd.img",
        "/boot/initramfs-linux-lts.img",
        f"/usr/lib/modules/{VERSION}/initramfs.img",
        "/boot/x86_64/loader/initrd",
    ],
)
def test_an_initramfs_is_found_by_any_usual_name(files_of: FilesOf, path: str) -> None:
    """By the kernel's version, by the kernel's name, or as the only one there is."""
    assert find_initrds(files_of({path: b"x"}), Kernel("/boot/vmlinuz-linux-lts", VERSION, "linux-lts")) == [path]


@pytest.mark.parametrize(
    "path",
    ["/boot/initrd.img-5.10", f"/boot/initrd-{VERSION}-kdump", "/boot/initramfs-linux-fallback.img", "/initrd/x"],
)
def test_one_for_another_kernel_is_passed_over(files_of: FilesOf, path: str) -> None:
    """It has no drivers for this one."""
    assert find_initrds(files_of({path: b"x"}), Kernel("/boot/vmlinuz", VERSION)) == []


def test_the_likeliest_comes_first(files_of: FilesOf) -> None:
    """The version in the name, then one that may be for any; a link says by its target what it is for."""
    exact = f"/boot/initrd.img-{VERSION}"
    files: Files = {
        "/boot/initrd": b"any",
        exact: b"x",
        "/boot/initrd.img": "initrd.img-5.10",
        "/boot/initrd.img-5.10": b"x",
    }
    assert find_initrds(files_of(files), Kernel("/boot/vmlinuz", VERSION)) == [exact, "/boot/initrd"]


@pytest.mark.parametrize("folder", ["/lib/modules", "/usr/lib/modules"])
def test_modules_are_found_for_their_kernel(files_of: FilesOf, folder: str) -> None:
    """Where there is more than an empty folder."""
    files = files_of({f"{folder}/{VERSION}/modules.dep": b"", f"{folder}/5.10/build": "/usr/src"})
    assert find_modules(files, VERSION) == f"{folder}/{VERSION}"
    assert find_modules(files, "5.10") is None
    assert find_modules(files, "..") is None


def test_an_empty_image_holds_nothing(files_of: FilesOf) -> None:
    """No folder at all is no error."""
    files = files_of({"x": b""})
    assert find_kernels(files) == []
    assert find_modules(files, VERSION) is None
