"""Make the demo boot tree in a hidden folder, each part again only when what it is made from has changed.

.demo/kernel/      Debian's cloud kernel, unpacked
.demo/tree/        boot/linux, boot/initrd and image/debian.x86_64-12: all that a boot server needs
.demo/*.made       what each part was made from
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy.lab.errors import LabError

KERNEL_PACKAGE = "linux-image-cloud-amd64"  # small, and has virtio, nbd, aoe, squashfs and overlay as modules
SUITE = "bookworm"
ROOT_PACKAGES = ("kmod", "iproute2", "procps", "iputils-ping", "less")
IMAGE_NAME = "debian.x86_64-12"  # KIWI's NAME.ARCH-VERSION
FILE_LIST = "usr/share/rootwire-demo/files"
# Documentation and translations are a third of a minimal Debian, and nothing in the demo reads them.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")

INIT = Path(__file__).with_name("init")
DETAIL_LENGTH = 60  # characters of a tool's own progress line worth showing

Progress = Callable[[str], None]
BuildInitrd = Callable[[Path, Path, Progress], None]


class Steps(Protocol):
    """Where progress is shown: each step is entered, told details while it runs, and left."""

    def step(self, name: str) -> AbstractContextManager[Progress]:
        """Show that `name` runs until the context ends; the function it gives shows a detail."""
        ...


@dataclass(frozen=True, slots=True)
class DemoTree:
    """A finished tree: give `root` to a boot server."""

    root: Path

    @property
    def kernel(self) -> Path:
        """The kernel clients load."""
        return self.root / "boot/linux"

    @property
    def initrd(self) -> Path:
        """The client initramfs."""
        return self.root / "boot/initrd"

    @property
    def image(self) -> Path:
        """The squashfs root."""
        return self.root / "image" / IMAGE_NAME

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a boot server is given."""
        return (self.kernel, self.initrd, self.image)


def build_tree(folder: Path, steps: Steps, initrd: BuildInitrd, initrd_inputs: str) -> DemoTree:
    """The demo tree in `folder`, made as far as it is missing or out of date; a minute or two the first time.

    `initrd` makes the client initramfs from an unpacked kernel package; `initrd_inputs` names what goes into it.
    Raises: LabError when a tool fails.
    """
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock"):
        builder = Builder(folder)
        with steps.step("demo: kernel") as show:
            package = _resolve_kernel()
            builder.make("kernel", package, lambda: _make_kernel(folder, package, show), show)
        with steps.step("demo: initramfs") as show:
            inputs = f"{package}\n{initrd_inputs}"
            builder.make("initrd", inputs, lambda: _make_initrd(folder, initrd, show), show)
        with steps.step("demo: Debian root") as show:
            builder.make("root", _root_inputs(), lambda: _make_root(folder, show), show)
    return DemoTree(folder / "tree")


class Builder:
    """Makes each part once per set of inputs; the inputs are written down last, so a broken build is done again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, part: str, inputs: str, build: Callable[[], None], show: Progress) -> None:
        """Call `build` unless `part` was made from these very `inputs` before."""
        record = self._folder / f"{part}.made"
        if record.is_file() and record.read_text() == inputs:
            show("as made before")
            return
        record.unlink(missing_ok=True)
        build()
        record.write_text(inputs)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one build of what `path` stands for at a time: a second run waits here for the first one's."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run_tool(command: list[str], *, cwd: Path | None = None, show: Progress | None = None) -> str:
    """Run a tool to its end and return its output; `show` is told each line it writes to standard error.

    Raises: LabError with the tool's last words when it fails.
    """
    with subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as tool:
        output: list[str] = []
        for line in tool.stdout or ():
            output.append(line)
            if show is not None and line.strip():
                show(line.strip()[:DETAIL_LENGTH])
    if tool.returncode != 0:
        last = [line.strip() for line in output if line.strip()][-3:]
        raise LabError(f"{command[0]} failed with status {tool.returncode}: {' / '.join(last) or 'it said nothing'}")
    return "".join(output)


def _resolve_kernel() -> str:
    """NAME=VERSION of the package that the kernel's meta package stands for today."""
    found = _kernel_dependency()
    if found is None:
        run_tool(["apt-get", "update", "-qq"])  # the lists may have been cleaned away since deploy/setup
        found = _kernel_dependency()
    if found is None:
        raise LabError(f"apt knows no {KERNEL_PACKAGE}: add Debian {SUITE} main to /etc/apt/sources.list")
    return f"{found['name']}={found['version']}"


def _kernel_dependency() -> re.Match[str] | None:
    shown = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", KERNEL_PACKAGE], capture_output=True, text=True, check=False
    )
    return re.search(r"^Depends: (?P<name>linux-image-\S+) \(= (?P<version>[^)]+)\)", shown.stdout, re.MULTILINE)


def _make_kernel(folder: Path, package: str, show: Progress) -> None:
    download, unpacked = folder / "download", folder / "kernel"
    for path in (download, unpacked):
        shutil.rmtree(path, ignore_errors=True)
    download.mkdir()
    show(f"downloading {package}")
    run_tool(["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=download)
    show(f"unpacking {package}")
    run_tool(["dpkg", "-x", str(next(download.glob("*.deb"))), str(unpacked)])
    (folder / "tree/boot").mkdir(parents=True, exist_ok=True)
    _place(next(unpacked.glob("boot/vmlinuz-*")), folder / "tree/boot/linux")
    shutil.rmtree(download)
    show(package)


def _make_initrd(folder: Path, build: BuildInitrd, show: Progress) -> None:
    made = folder / "initrd.new"
    build(folder / "kernel", made, show)
    made.replace(folder / "tree/boot/initrd")
    show(f"{(folder / 'tree/boot/initrd').stat().st_size / 1e6:.1f} MB")


def _root_inputs() -> str:
    commands = [*_root_commands(Path("root"), Path("image")), [hashlib.sha256(INIT.read_bytes()).hexdigest()]]
    return "".join(f"{' '.join(command)}\n" for command in commands)


def _root_commands(root: Path, image: Path) -> list[list[str]]:
    """What makes a Debian system in the folder `root`, and what packs it into `image`."""
    excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    include = f"--include={','.join(ROOT_PACKAGES)}"
    return [
        ["mmdebstrap", "--variant=minbase", include, *excludes, SUITE, str(root)],
        ["mksquashfs", str(root), str(image), "-comp", "zstd", "-Xcompression-level", "6", "-noappend", "-quiet"],
    ]


def _make_root(folder: Path, show: Progress) -> None:
    root, made = folder / "root", folder / "root.new"
    shutil.rmtree(root, ignore_errors=True)
    made.unlink(missing_ok=True)
    install, pack = _root_commands(root, made)
    run_tool(install, show=show)
    add_demo_files(root)
    show("packing it as squashfs")
    run_tool(pack)
    (folder / "tree/image").mkdir(parents=True, exist_ok=True)
    image = DemoTree(folder / "tree").image
    made.replace(image)
    shutil.rmtree(root)
    show(f"{IMAGE_NAME}, {image.stat().st_size / 1e6:.0f} MB")


def add_demo_files(root: Path) -> None:
    """The demo's own init in place of none (minbase has no init), and the list of files it reads."""
    shutil.copy(INIT, root / "usr/sbin/init")
    (root / "usr/sbin/init").chmod(0o755)
    names = list_files(root)
    (root / FILE_LIST).parent.mkdir(parents=True)
    (root / FILE_LIST).write_bytes(b"".join(b"/" + name + b"\n" for name in names))


def list_files(root: Path) -> list[bytes]:
    """The plain files of usr/bin and usr/lib under `root`, relative to it, in byte order."""
    names: list[bytes] = []
    for top in ("usr/bin", "usr/lib"):
        for where, _, files in os.walk(root / top):
            paths = (Path(where) / name for name in files)
            names += [os.fsencode(p.relative_to(root)) for p in paths if p.is_file() and not p.is_symlink()]
    return sorted(names)


def _place(source: Path, target: Path) -> None:
    """Copy `source` onto `target` in one step, so that a server reading the old file keeps reading the old file."""
    new = target.with_name(f"{target.name}.new")
    shutil.copy(source, new)
    new.replace(target)
