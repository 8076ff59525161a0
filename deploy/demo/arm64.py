"""A boot tree for 64-bit ARM: Debian's kernel, and an initramfs that is the whole system; there is no root to mount.

.demo/arm64/apt/       apt's lists for that processor
.demo/arm64/unpacked/  the kernel's package, and busybox
.demo/arm64/tree/      boot/linux and boot/initrd

The loaders come to where the appliance looks for them, as deploy/loaders puts them there.
"""

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.initrd.cpio import Entry, build_archive, character_device, file, folder
from appliance.offers.loaders import FETCHED, SYSTEM, missing_files
from deploy.demo.foreign import Port, fetch_loaders
from deploy.demo.tree import Builder, Progress, Steps, locked

PORT = "arm64"
LOADERS = ("shimaa64.efi", "grub-aa64.efi")
KERNEL_PACKAGE = "linux-image-cloud-arm64"
BUSYBOX_PACKAGE = "busybox-static"
INIT = Path(__file__).with_name("arm64-init")
MOUNT_POINTS = ("dev", "proc", "sys")


@dataclass(frozen=True, slots=True)
class ArmTree:
    """A finished tree: give `root` to a boot server."""

    root: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a boot server is given."""
        return (self.root / "boot/linux", self.root / "boot/initrd")


def build_arm_tree(folder: Path, steps: Steps) -> ArmTree:
    """The tree in `folder`, and the loaders in their place, made where they are missing. Raises: LabError."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        port = Port(PORT, folder / "apt")
        inputs = f"{KERNEL_PACKAGE} {BUSYBOX_PACKAGE}\n{INIT.read_text()}"
        with steps.step("arm64: kernel, busybox") as show:
            Builder(folder).make("tree", inputs, lambda: _make_tree(folder, port, show), show)
        if any(missing_files(name) for name in LOADERS):
            with steps.step("arm64: loaders") as show:
                port.update(show)
                fetch_loaders(port, SYSTEM / FETCHED, show)
    return ArmTree(folder / "tree")


def _make_tree(place: Path, port: Port, show: Progress) -> None:
    unpacked, boot = place / "unpacked", place / "tree/boot"
    shutil.rmtree(unpacked, ignore_errors=True)
    port.update(show)
    packages = [port.meaning(KERNEL_PACKAGE), BUSYBOX_PACKAGE]
    show(f"downloading {' and '.join(packages)}")
    port.unpack(packages, unpacked)
    boot.mkdir(parents=True, exist_ok=True)
    [kernel] = unpacked.glob("boot/vmlinuz-*")
    shutil.copy(kernel, boot / "linux")
    with gzip.open(boot / "initrd", "wb", compresslevel=6) as output:
        for piece in build_archive(system((unpacked / "bin/busybox").read_bytes())):
            output.write(piece)
    shutil.rmtree(unpacked)
    show(f"{packages[0]}, {(boot / 'linux').stat().st_size / 1e6:.0f} MB")


def system(busybox: bytes) -> list[Entry]:
    """What the initramfs holds: for another processor than ARM, with that one's busybox."""
    return [
        *(folder(name) for name in MOUNT_POINTS),
        file("bin/busybox", busybox, executable=True),
        file("init", INIT.read_bytes(), executable=True),
        character_device("dev/console", 0o600, 5, 1),
    ]
