"""The initramfs as a whole: what is in it, that it is always the same, and what is said when it can't be built."""

import gzip
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.deployment.archive import read_members
from appliance.initrd import builder
from appliance.initrd.builder import InitrdReport, build_initrd
from appliance.initrd.commands import find_optional
from appliance.initrd.errors import InitrdError
from storage.image import FileImage

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture
def programs(tool: Callable[[str], str]) -> None:
    """What the builder packs and runs is installed."""
    for name in ("busybox", "nbd-client", "depmod", "modinfo", "mkfs.ext4", "sfdisk", "resize2fs", "mdadm"):
        tool(name)


def build(kernel: Path, output: Path) -> InitrdReport:
    """Build without a word."""
    return build_initrd(str(kernel), output, progress=lambda line: None)


def names_in(initrd: Path, tool: Callable[[str], str]) -> list[str]:
    """The names in an initramfs, by cpio."""
    plain = gzip.decompress(initrd.read_bytes())
    listed = subprocess.run([tool("cpio"), "-it", "--quiet"], input=plain, capture_output=True, check=True)
    return listed.stdout.decode().splitlines()


def read_member(archive: Path, name: str) -> bytes:
    """A file of an initramfs."""
    members = read_members(FileImage(archive), lambda member: member == name)
    return next(member.data for member in members if member.name == name)


def test_contents(kernel_folder: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    """Programs, scripts, modules with what they need, tables, firmware, device nodes; no module nobody asked for."""
    build(kernel_folder, tmp_path / "initrd")
    names = set(names_in(tmp_path / "initrd", tool))
    assert {"init", "bin/busybox", "bin/sh", "sbin/modprobe", "bin/nbd-client", "lib/rootwire/config.sh"} <= names
    assert {"dev/console", "dev/null", "proc", "sys", "run", "root", "lower", "upper", "image", "etc"} <= names
    assert "lib/firmware/acme/card.bin" in names
    modules = {name.rpartition("/")[2] for name in names if name.endswith(".ko")}
    needed = {"net-failover", "realtek", "crc32c-intel"}
    assert modules == {f"{name}.ko" for name in {"nbd", "aoe", "squashfs", "overlay", "virtio_net", "r8169"} | needed}
    tables = {f"lib/modules/6.1.0-test/modules.{table}" for table in ("dep", "alias", "softdep", "builtin")}
    assert tables <= names
    assert not [name for name in names if name.endswith(".bin") and "modules." in name]


def test_extra_archive(kernel_folder: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    """What only machines with disks need: tools, drivers, the tables of all modules, and no file that the first has."""
    report = build_initrd(str(kernel_folder), tmp_path / "initrd", extra=tmp_path / "extra", progress=lambda line: None)
    first, extra = set(names_in(tmp_path / "initrd", tool)), set(names_in(tmp_path / "extra", tool))
    assert {"sbin/sfdisk", "sbin/resize2fs", "sbin/mdadm", "lib/rootwire/extra"} <= extra
    assert "sbin/mkfs.ext4" in first
    assert {name for name in extra if name.endswith(".ko")} == {"lib/modules/6.1.0-test/kernel/ahci.ko"}
    assert report.extra_modules == ("ahci",)
    assert report.extra_size == (tmp_path / "extra").stat().st_size
    files = {name for name in first & extra if not any(other.startswith(f"{name}/") for other in first)}
    assert {name.rpartition("/")[2].partition(".")[0] for name in files} == {"modules"}


def test_extra_tables_have_all_modules(kernel_folder: Path, tmp_path: Path) -> None:
    """They replace the first archive's; the mark says for which kernel."""
    build_initrd(str(kernel_folder), tmp_path / "initrd", extra=tmp_path / "extra", progress=lambda line: None)
    table = "lib/modules/6.1.0-test/modules.dep"
    listed = [set(read_member(tmp_path / name, table).split()) for name in ("initrd", "extra")]
    assert listed[1] - listed[0] == {b"kernel/ahci.ko:"}
    assert read_member(tmp_path / "extra", "lib/rootwire/extra") == b"6.1.0-test\n"


def test_programs_that_are_not_installed(kernel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few machines mirror disks: without mdadm there is an archive all the same, and the report says what it lacks."""
    absent = ("mdadm", "mkfs.ext4")
    monkeypatch.setattr(builder, "find_optional", lambda name: None if name in absent else find_optional(name))
    report = build_initrd(str(kernel_folder), tmp_path / "initrd", extra=tmp_path / "extra", progress=lambda line: None)
    assert report.absent_programs == ("mkfs.ext4", "mdadm")


def test_report_says_what_went_in(kernel_folder: Path, tmp_path: Path) -> None:
    """Version, sizes, modules, firmware, and the drivers this kernel hasn't."""
    output = tmp_path / "initrd"
    report = build(kernel_folder, output)
    assert (report.kernel_version, report.output) == ("6.1.0-test", output)
    assert report.size == output.stat().st_size
    assert report.unpacked_size == len(gzip.decompress(output.read_bytes()))
    assert "virtio_net" in report.modules
    assert report.firmware == ("acme/card.bin",)
    assert "e1000" in report.absent_drivers
    assert "r8169" not in report.absent_drivers


def test_same_inputs_same_bytes(kernel_folder: Path, tmp_path: Path) -> None:
    """Whenever it is built, under whatever name, whatever the files' times."""
    build(kernel_folder, tmp_path / "one")
    for path in kernel_folder.rglob("*"):
        os.utime(path, (1, 1))
    build(kernel_folder, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_output_is_replaced_whole(kernel_folder: Path, tmp_path: Path) -> None:
    """An older one is replaced, readable for the server, with nothing left beside it."""
    folder = tmp_path / "boot"
    folder.mkdir()
    (folder / "initrd").write_text("old")
    build(kernel_folder, folder / "initrd")
    assert [path.name for path in folder.iterdir()] == ["initrd"]
    assert (folder / "initrd").stat().st_mode & 0o777 == 0o644


def test_failure_leaves_the_old_one(kernel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while writing is one line, and the file in use stays."""
    (tmp_path / "initrd").write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InitrdError, match="No space left on device; free space or correct the path"):
        build(kernel_folder, tmp_path / "initrd")
    assert (tmp_path / "initrd").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("missing", ["nbd", "aoe", "squashfs", "overlay"])
def test_kernel_without_a_required_driver(kernel_folder: Path, tmp_path: Path, missing: str) -> None:
    """The kernel, the driver and a kernel that has it."""
    table = kernel_folder / "lib/modules/6.1.0-test/modules.dep"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if f"/{missing}.ko:" not in line))
    with pytest.raises(
        InitrdError, match=rf"^kernel 6\.1\.0-test in \S+ has no {missing}; choose a kernel that has it"
    ):
        build(kernel_folder, tmp_path / "initrd")


def test_kernel_without_network_cards(kernel_folder: Path, tmp_path: Path) -> None:
    """No machine would find its server."""
    table = kernel_folder / "lib/modules/6.1.0-test/modules.dep"
    kept = [line for line in table.read_text().splitlines(True) if "virtio_net.ko:" not in line and "r8169" not in line]
    table.write_text("".join(kept))
    with pytest.raises(InitrdError, match="has no network card driver"):
        build(kernel_folder, tmp_path / "initrd")


def test_output_folder_that_is_missing(kernel_folder: Path, tmp_path: Path) -> None:
    """Named before any work is done."""
    with pytest.raises(InitrdError, match=r"--output \S+: its folder does not exist; create \S+/nosuch$"):
        build(kernel_folder, tmp_path / "nosuch/initrd")


def test_output_that_is_a_folder(kernel_folder: Path, tmp_path: Path) -> None:
    """A file name is wanted."""
    with pytest.raises(InitrdError, match=r"is a folder; name a file, such as \S+/initrd$"):
        build(kernel_folder, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("busybox", "busybox is not installed; run: apt-get install busybox-static"),
        ("nbd-client", "nbd-client is not installed; run: apt-get install nbd-client"),
        ("depmod", "depmod is not installed; run: apt-get install kmod"),
    ],
)
def test_program_that_is_not_installed(
    kernel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    """The program and its package."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in (Path("/usr/bin"), Path("/usr/sbin")):
        for path in folder.iterdir():
            if path.name != name and path.name in {"busybox", "nbd-client", "depmod", "modinfo"}:
                (programs / path.name).symlink_to(path)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("appliance.initrd.commands.ADMINISTRATORS_PATH", str(programs))
    with pytest.raises(InitrdError) as caught:
        build(kernel_folder, tmp_path / "initrd")
    assert str(caught.value) == message


def test_busybox_that_needs_libraries(kernel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's plain busybox package is not static: the initramfs would stop at its first line."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "busybox").symlink_to("/bin/ls")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(InitrdError, match="needs shared libraries; run: apt-get install busybox-static"):
        build(kernel_folder, tmp_path / "initrd")
