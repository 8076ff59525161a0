"""What is served: one boot tree on disk, the same files for every server, read once so that they are in memory."""

import os
import random
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

IMAGE = "bench.img"
IMAGE_BYTES = 500_000_000 // 512 * 512  # the 500 MB of the HTTP cells, in whole sectors
BOOT_FILE = "boot/bench.bin"
BOOT_BYTES = 32 << 20  # a big kernel and initrd; under 65,536 blocks of 1428 bytes: not every peer wraps
PAGE_FILE = "boot/page.bin"
PAGE_BYTES = 64 << 10  # a small file, asked for again and again
# Theirs are the pages that are dropped while they are read; nothing else reads them.
COLD_IMAGE = "cold.img"
COLD_IMAGE_BYTES = 256 << 20
COLD_FILE = "boot/cold.bin"
# As large as a kernel of Debian's, plain in the tree and inside a squashfs: noise, as kernels are, and what compresses.
INSIDE_BYTES = 14_000_000
PLAIN_FILE = "boot/kernel.bin"
INSIDE_IMAGE = "inside.squashfs"
PACKED, STORED = "packed", "stored"
CHUNK = 1 << 20

WARM = {f"image/{IMAGE}": IMAGE_BYTES, BOOT_FILE: BOOT_BYTES, PAGE_FILE: PAGE_BYTES, PLAIN_FILE: INSIDE_BYTES}
COLD = {f"image/{COLD_IMAGE}": COLD_IMAGE_BYTES, COLD_FILE: BOOT_BYTES}

CONFIG = f"""\
# A thousand clients have one address here; the limits on what one address may hold are not what is measured.
[boot]
raw_images = ["{IMAGE}", "{COLD_IMAGE}"]

[limits.tftp]
transfers_per_client = 2000

[limits.nbd]
connections = 2048
connections_per_client = 2048

[limits.http]
connections_per_client = 1024
"""


@dataclass(frozen=True, slots=True)
class Fixture:
    """The tree's folder, and a folder for what servers write while they run."""

    tree: Path
    run: Path

    @property
    def image(self) -> Path:
        """The image: NBD export, AoE target, HTTP file."""
        return self.tree / "image" / IMAGE

    @property
    def config(self) -> Path:
        """The appliance's configuration."""
        return self.run / "rootwire.toml"


def make_fixture(folder: Path) -> Fixture:
    """The tree in `folder`, made as far as needed."""
    fixture = Fixture(folder / "tree", folder / "run")
    fixture.run.mkdir(parents=True, exist_ok=True)
    fixture.config.write_text(CONFIG)
    for name, size in (WARM | COLD).items():
        path = fixture.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size != size:
            _write_noise(path, size)
    if not (image := fixture.tree / "image" / INSIDE_IMAGE).exists():
        _make_image(image, fixture.tree / PLAIN_FILE)
    return fixture


def _make_image(image: Path, kernel: Path) -> None:
    """A squashfs of the kernel as it is, and of one whose every other byte is nothing."""
    with tempfile.TemporaryDirectory(dir=image.parent, prefix=".") as folder:
        noise = kernel.read_bytes()
        Path(folder, STORED).write_bytes(noise)
        Path(folder, PACKED).write_bytes(b"\0".join(noise[at : at + 1] for at in range(INSIDE_BYTES // 2)) + b"\0")
        part = image.with_name(f".{image.name}")
        command = ["mksquashfs", folder, str(part), "-noappend", "-comp", "zstd", "-no-progress", "-quiet"]
        subprocess.run(command, check=True, capture_output=True)
        part.rename(image)


def _write_noise(path: Path, size: int) -> None:
    """Bytes that no layer could compress, the same in every run; only a whole file gets the name."""
    source, part = random.Random(path.name), path.with_suffix(".part")  # noqa: S311  # noise, no secret
    with part.open("wb") as file:
        for at in range(0, size, CHUNK):
            file.write(source.randbytes(min(CHUNK, size - at)))
        os.fsync(file.fileno())  # pages that wait to be written could not be dropped
    part.rename(path)


def warm(fixture: Fixture) -> None:
    """Read all that is to be in memory, so that no cell waits for a disk by accident."""
    buffer = bytearray(CHUNK)
    for name in WARM:
        with (fixture.tree / name).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
