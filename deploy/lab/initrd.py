"""The client initramfs for the demo tree: made by the product itself, again whenever what it is made from changes."""

from collections.abc import Callable
from pathlib import Path

from appliance.initrd.builder import build_initrd, builder_inputs
from appliance.initrd.errors import InitrdError
from deploy.lab.errors import LabError


def initrd_inputs() -> str:
    """A digest over what a client initramfs is made from. Raises: LabError when a program for it is not installed."""
    try:
        return builder_inputs()
    except InitrdError as failure:
        raise LabError(f"the client initramfs can't be made: {failure}") from failure


def build_client_initrd(kernel: Path, output: Path, show: Callable[[str], None]) -> None:
    """Make the initramfs for the kernel package unpacked in `kernel`. Raises: LabError when it can't be made."""
    try:
        build_initrd(str(kernel), output, progress=show)
    except InitrdError as failure:
        raise LabError(f"the client initramfs could not be made: {failure}") from failure
