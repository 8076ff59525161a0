#!/usr/bin/env -S python3 -P
"""A coverage-guided fuzzer of the squashfs reader: whatever the bytes, only the three errors; run by deploy/fuzz.

As a program with arguments it is libFuzzer, by way of atheris. `seeds FOLDER` writes what the corpus once started
from; `keep FOLDER` packs a folder, which libFuzzer's -merge=1 made small, as the corpus that the tests replay.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.corpus import keep
from tests.storage.squashfs.exercise import exercise
from tests.storage.squashfs.trees import make_image

CORPUS = Path(__file__).with_name("corpus.zip")
CODECS = ("gzip", "xz", "lzma", "zstd", "lz4", "lzo")
PLAIN = ("-noI", "-noX")
WAYS = ((), PLAIN, (*PLAIN, "-noD", "-noF"), (*PLAIN, "-no-fragments"), (*PLAIN, "-all-root", "-no-exports"))


def make_seeds(folder: Path) -> None:
    """Small images, by each codec and with metadata as it is, that have one of everything."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "tree"
        (root / "sub/sub").mkdir(parents=True)
        (root / "file").write_bytes(b"words " * 1500)
        (root / "hard").hardlink_to(root / "file")
        (root / "sub/sub/tail").write_bytes(b"tail")
        (root / "sub/link").symlink_to("sub/tail")
        (root / "root-file").touch()
        with (root / "hole").open("wb") as file:
            file.truncate(9000)
        os.setxattr(root / "file", b"user.short", b"v")
        os.setxattr(root / "sub", b"user.long", b"v" * 100)
        os.setxattr(root / "sub/sub", b"user.long", b"v" * 100)
        for codec in CODECS:
            for number, way in enumerate(WAYS):
                make_image(_tool, root, folder / f"{codec}-{number}", "-b", "4K", "-nopad", "-comp", codec, *way)


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(name)
    return path


def main() -> None:
    """Seeds, the corpus, or fuzz."""
    if sys.argv[1] == "seeds":
        make_seeds(Path(sys.argv[2]))
        return
    if sys.argv[1] == "keep":
        keep(Path(sys.argv[2]), CORPUS)
        return
    import atheris

    atheris.Setup(sys.argv, lambda data: exercise(data) and None, enable_python_coverage=False)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
