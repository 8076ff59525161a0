"""Debian images that boot by themselves: each holds its kernel, and an initrd of one of the kinds there are, or none.

.demo/images/system/     the Debian they are packed from, which has the tools that make the initrds
.demo/images/KIND/       a boot tree with nothing in it but image/NAME
.demo/images/*.made      what each part was made from

The initrds are made in the image's own system by its own tools, as everybody makes them who builds such images.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.demo.tree import LEFT_OUT, ROOT_PACKAGES, SUITE, Builder, Progress, Steps, add_demo_files, locked, run_tool

# What dracut makes its initrds of, then what initramfs-tools does. There is no package that brings an init: the demo's
# is the one, while dracut's initrds run systemd.
PACKAGES = (
    *("dracut-core", "dracut-live", "dracut-network", "curl", "dmsetup", "nbd-client", "systemd", "udev", "zstd"),
    *("busybox", "live-boot", "live-boot-initramfs-tools"),
)
# Unpacked only, since they depend on the package dracut, which can't be installed beside initramfs-tools.
KIWI_PACKAGES = ("kiwi-dracut-lib", "kiwi-dracut-overlay")

ZSTD = ("--compress", "zstd -3 -q -T0")  # dracut's own level is 15, which takes a minute
# Not for the machine it is made on, which is no client. The network handler is named because dracut takes
# systemd-networkd where it finds that, and has no way there to run what mounts a root over the network.
DRACUT = ("dracut", "--force", "--no-hostonly", "--no-early-microcode", *ZSTD, "--kver", "{version}")
MADE = "tmp/initrd"  # where in the system an initrd is made
# The last option: all words behind it are what is left out.
PACK = ("-comp", "zstd", "-Xcompression-level", "3", "-no-xattrs", "-noappend", "-quiet", "-no-progress", "-e", "tmp")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of image: what it is called, and the command that makes its initrd; without one it holds none."""

    name: str
    command: tuple[str, ...] = ()


KINDS = (
    Kind("kiwi", (*DRACUT, "--add", "network-legacy kiwi-overlay", f"/{MADE}")),
    Kind("livenet", (*DRACUT, "--add", "network-legacy livenet", f"/{MADE}")),
    Kind("live-boot", ("mkinitramfs", "-o", f"/{MADE}", "{version}")),
    Kind("bare"),
)


@dataclass(frozen=True, slots=True)
class ImageTree:
    """A finished boot tree that holds one image and nothing else."""

    root: Path
    name: str

    @property
    def image(self) -> Path:
        """The squashfs with its own kernel."""
        return self.root / "image" / self.name

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a boot server is given."""
        return (self.image,)


def build_images(
    folder: Path, kernel: Path, kernel_inputs: str, steps: Steps, kinds: Sequence[Kind] = KINDS
) -> dict[str, ImageTree]:
    """The tree of each of `kinds` by the kind's name, in `folder`, made as far as missing or out of date.

    `kernel` is an unpacked kernel package and `kernel_inputs` names it. Takes some minutes the first time.
    Raises: LabError when a tool fails.
    """
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock"):
        builder = Builder(folder)
        system = folder / "system"
        inputs = f"{kernel_inputs}\n{_system_inputs()}"
        with steps.step("images: Debian") as show:
            builder.make("system", inputs, lambda: _make_system(folder, kernel, show), show)
        trees = {kind.name: ImageTree(folder / kind.name, f"debian-{kind.name}.x86_64-12") for kind in kinds}
        for kind in kinds:
            with steps.step(f"images: {kind.name}") as show:
                _build(builder, system, kind, trees[kind.name], f"{inputs}\n{kind.command}\n{PACK}", show)
    return trees


def _build(builder: Builder, system: Path, kind: Kind, tree: ImageTree, inputs: str, show: Progress) -> None:
    builder.make(kind.name, inputs, lambda: _make_image(system, kind, tree, show), show)


def _system_inputs() -> str:
    return f"{_install_command(Path('system'))}\n{KIWI_PACKAGES}"


def _install_command(system: Path) -> list[str]:
    excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    include = f"--include={','.join((*ROOT_PACKAGES, *PACKAGES))}"
    # A system that is packed at once, and made again should that fail, need not survive a power cut.
    return ["mmdebstrap", "--variant=minbase", "--dpkgopt=force-unsafe-io", include, *excludes, SUITE, str(system)]


def _make_system(folder: Path, kernel: Path, show: Progress) -> None:
    system = folder / "system"
    shutil.rmtree(system, ignore_errors=True)
    run_tool(_install_command(system), show=show)
    _add_kernel(system, kernel)
    _add_kiwi_modules(system, folder / "download", show)
    add_demo_files(system)
    show("packages, kernel and modules")


def _add_kernel(system: Path, kernel: Path) -> None:
    """Copied rather than installed: the package would make an initrd of its own."""
    shutil.copytree(kernel / "lib/modules", system / "usr/lib/modules", symlinks=True)
    for file in kernel.glob("boot/*"):
        shutil.copy(file, system / "boot")
    run_tool(["depmod", "--basedir", str(system), _version(system)])


def _add_kiwi_modules(system: Path, download: Path, show: Progress) -> None:
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir()
    show(f"downloading {' and '.join(KIWI_PACKAGES)}")
    run_tool(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *KIWI_PACKAGES], cwd=download)
    for package in download.glob("*.deb"):
        run_tool(["dpkg-deb", "--extract", str(package), str(download)])
    shutil.copytree(download / "usr/lib/dracut", system / "usr/lib/dracut", dirs_exist_ok=True)
    shutil.rmtree(download)


def _make_image(system: Path, kind: Kind, tree: ImageTree, show: Progress) -> None:
    version = _version(system)
    initrd = system / f"boot/initrd.img-{version}"
    made = tree.root.with_name(f"{kind.name}.new")
    for old in (initrd, made):
        old.unlink(missing_ok=True)
    if kind.command:
        run_tool(_inside(system, [word.format(version=version) for word in kind.command]), show=show)
        (system / MADE).replace(initrd)
    show("packing it as squashfs")
    pack_system(system, made)
    initrd.unlink(missing_ok=True)
    tree.image.parent.mkdir(parents=True, exist_ok=True)
    made.replace(tree.image)
    show(f"{tree.name}, {tree.image.stat().st_size / 1e6:.0f} MB")


def pack_system(system: Path, image: Path, *options: str) -> None:
    """Pack the system as all of these images are, with more options of mksquashfs. Raises: LabError."""
    run_tool(["mksquashfs", str(system), str(image), *options, *PACK])


def _inside(system: Path, command: list[str]) -> list[str]:
    """`command` as run in `system`: with a /proc of its own, and nothing of this machine's environment."""
    enter = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", f"--root={system}"]
    return [*enter, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", *command]


def _version(system: Path) -> str:
    [modules] = (system / "usr/lib/modules").iterdir()
    return modules.name
