"""What a client must have read: the checksum over the first files of an image, computed from the image itself."""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from deploy.demo.tree import list_files


def expected_md5(image: Path, files: int) -> str:
    """The md5, 32 hex digits, over the contents of the first `files` files of usr/bin and usr/lib in `image`."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / "root"
        command = ["unsquashfs", "-no-progress", "-no-xattrs", "-d", str(unpacked), str(image), "usr/bin", "usr/lib"]
        subprocess.run(command, check=True, capture_output=True)
        digest = hashlib.md5(usedforsecurity=False)
        for name in list_files(unpacked)[:files]:
            digest.update((unpacked / name.decode()).read_bytes())
        return digest.hexdigest()
