"""Trees that squashfs images are made of for the tests, and images made of them by other people's tools."""

import os
import random
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Tool = Callable[[str], str]

ODD_NAMES = (
    b"line\nfeed",
    b"not utf-8 \xff\xfe",
    b" leading and trailing ",
    b"tab\tbell\a",
    b"...",
    b"-rf",
    b"quote\"s'$`\\",
    b"x" * 255,
    "ünïcödé".encode(),
)
PSEUDO = (  # what only root may make in a folder, made in the image by mksquashfs itself
    "dev d 755 0 0",
    "dev/sda b 660 0 6 8 0",
    "dev/large b 600 0 0 4095 1048575",
    "dev/null c 666 0 0 1 3",
    "dev/pipe i 600 3 4 f",
    "dev/socket i 777 5 6 s",
    "root-file m 4755 0 0",
)
XATTRS = {b"user.short": b"v", b"user.empty": b"", b"user.binary": bytes(range(256)), b"user.same": b"s" * 300}


def content(seed: object, size: int) -> bytes:
    """Bytes that compress somewhat: runs of words and of noise."""
    source, out = random.Random(repr(seed)), bytearray()
    while len(out) < size:
        out += source.randbytes(97) if source.random() < 0.3 else source.choice(b"abc\0").to_bytes() * 191
    return bytes(out[:size])


def make_tree(root: Path, block_size: int) -> Path:
    """Files around every block boundary, odd names, links, holes, empty things; mtimes and modes of all kinds."""
    root.mkdir()
    for blocks in (0, 1, 2):
        for more in (-1, 0, 1):
            size = blocks * block_size + more
            if size >= 0:
                (root / f"size-{blocks}{more:+d}").write_bytes(content((blocks, more), size))
    (root / "tail").write_bytes(content("tail", block_size + block_size // 3))
    (root / "noise").write_bytes(random.Random(5).randbytes(block_size + 77))  # stored, not compressed
    (root / "twice").write_bytes((root / "tail").read_bytes())  # found to be the same by mksquashfs
    _add_holes(root / "holes", block_size)
    _add_names(root / "names")
    _add_links(root)
    (root / "deep/er/and/deep/er").mkdir(parents=True)
    (root / "deep/er/and/deep/er/file").write_bytes(b"deep")
    (root / "root-file").write_bytes(b"set-uid root")
    for number, path in enumerate(sorted(root.rglob("*"))):
        if not path.is_symlink():
            path.chmod(0o400 | number * 11 % 0o400 | 0o700 * path.is_dir())
        os.utime(path, ns=(0, (10**9 + number * 12345) * 10**9), follow_symlinks=False)
    return root


def _add_holes(path: Path, block_size: int) -> None:
    with path.open("wb") as file:
        file.truncate(9 * block_size + 5)
        os.pwrite(file.fileno(), b"data", 2 * block_size + 1)
        os.pwrite(file.fileno(), content("holes", block_size), 5 * block_size)


def _add_names(folder: Path) -> None:
    folder.mkdir()
    (folder / "empty folder").mkdir()
    for name in ODD_NAMES:
        (folder / os.fsdecode(name)).write_bytes(b"content of " + name)
    for number in range(300):  # more than one header, more than one metadata block
        (folder / f"many-{number:03d}-{'y' * (number % 40)}").touch()


def _add_links(root: Path) -> None:
    (root / "hard").hardlink_to(root / "tail")
    (root / "soft").symlink_to("names/...")
    (root / "dangling").symlink_to("/nowhere/at all")
    (root / "long").symlink_to("long/" * 700 + "end")
    with suppress(OSError):  # a file system without extended attributes: the images then have none
        for name, value in XATTRS.items():
            os.setxattr(root / "tail", name, value)
            os.setxattr(root / "names", name, value)
        os.setxattr(root / "noise", b"user.same", XATTRS[b"user.same"])
        if os.geteuid() == 0:
            os.setxattr(root / "noise", b"security.test", b"s")
            os.setxattr(root / "soft", b"trusted.test", b"t" * 100, follow_symlinks=False)


def make_image(tool: Tool, tree: Path, image: Path, *options: str) -> Path:
    """The tree, and devices, as mksquashfs packs them."""
    pseudo = [word for line in PSEUDO for word in ("-p", line)]
    command = [tool("mksquashfs"), str(tree), str(image), "-noappend", "-quiet", "-no-progress", *options]
    subprocess.run([*command, *(pseudo if (tree / "root-file").exists() else [])], check=True, capture_output=True)
    return image
