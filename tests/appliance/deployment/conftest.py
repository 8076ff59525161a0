"""Images made by mksquashfs from a few files, opened."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from storage import squashfs
from storage.image import FileImage
from storage.squashfs import Squashfs

Files = Mapping[str, bytes | str]
MakeImage = Callable[[Path, Files], Path]


@pytest.fixture
def make_image(tool: Callable[[str], str], tmp_path: Path) -> MakeImage:
    """make_image(path, files): an image at `path`; bytes are a file's content, text is a symlink's target."""

    def make(path: Path, files: Files) -> Path:
        tree = tmp_path / f"tree of {path.name}"
        for name, content in files.items():
            place = tree / name.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(content) if isinstance(content, str) else place.write_bytes(content)
        tree.mkdir(exist_ok=True)
        command = [tool("mksquashfs"), str(tree), str(path), "-noappend", "-quiet", "-no-progress", "-comp", "gzip"]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return make


@pytest.fixture
def files_of(make_image: MakeImage, tmp_path: Path) -> Callable[[Files], Squashfs]:
    """files_of(files): an image of these files, opened."""
    return lambda files: squashfs.open(FileImage(make_image(tmp_path / "image.squashfs", files)))
