"""The client initramfs for the demo tree: made by the product itself, again whenever what it is made from changes."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import appliance
from appliance.initrd.builder import build_initrd
from appliance.initrd.errors import InitrdError
from deploy.lab.errors import LabError

SOURCES = Path(appliance.__file__).parent
TOOLS = ("busybox", "nbd-client")  # copied into it as they are


def initrd_inputs() -> str:
    """A digest over the sources and the tools that a client initramfs is made from."""
    found = [
        Path(path) for path in (shutil.which(tool, path="/usr/bin:/bin:/usr/sbin:/sbin") for tool in TOOLS) if path
    ]
    sources = [path for path in SOURCES.glob("initrd*/**/*") if path.is_file() and "__pycache__" not in path.parts]
    digest = hashlib.sha256()
    for path in sorted([*found, *sources, *SOURCES.glob("initrd*.py")]):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def build_client_initrd(kernel: Path, output: Path, show: Callable[[str], None]) -> None:
    """Make the initramfs for the kernel package unpacked in `kernel`. Raises: LabError when it can't be made."""
    try:
        build_initrd(str(kernel), output, progress=show)
    except InitrdError as failure:
        raise LabError(f"the client initramfs could not be made: {failure}") from failure
