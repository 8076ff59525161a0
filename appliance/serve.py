"""Running the appliance: started from its configuration, told of in the log, stopped by a signal."""

import asyncio
import contextlib
import signal
from pathlib import Path

import structlog

from appliance import host
from appliance.appliance import Appliance
from appliance.config import Config
from appliance.leases.service import refuse_beside_others
from appliance.menus.files import PXELINUX_DEFAULT
from appliance.offers.loaders import missing_loaders
from appliance.plan import INITRD_PATH, KERNEL_PATH

log = structlog.get_logger()


async def serve(config: Config) -> None:
    """Run the appliance that `config` describes until SIGINT or SIGTERM.

    Raises: OperatorError before anything is served, when something is not as it must be.
    """
    root = host.require_folder(config.root)
    interface, address = await host.choose_interface(config.interface, config.address)
    host.raise_file_limit()
    appliance = Appliance(config, root=root, interface=interface, address=address)
    await refuse_beside_others(config, interface)
    await appliance.bind()
    announce(appliance, root, interface.name, address)
    task = asyncio.ensure_future(appliance.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    log.info("appliance_stopped")


def announce(appliance: Appliance, root: Path, interface: str, address: str) -> None:
    """Say what is served, and what is missing, once at the start."""
    log.info("appliance_started", interface=interface, address=address, root=str(root), images=len(appliance.catalog))
    for note in appliance.notes():
        log.info("port_captured", port=67, note=note)
    for entry in appliance.catalog:
        log.info("image_served", image=entry.name, format=entry.format, bytes=entry.image.size, target=entry.target)
    for loader, package in missing_loaders():
        log.warning("loader_missing", loader=loader, remedy=f"apt-get install {package}")
    if appliance.tree.has_file(KERNEL_PATH):
        if not appliance.tree.has_file(INITRD_PATH) and not appliance.tree.has_file(PXELINUX_DEFAULT):
            log.warning("file_missing", path=INITRD_PATH, remedy="put it there; rootwire initrd makes an initrd")
    elif appliance.tree.images_boot() and not len(appliance.catalog):
        log.warning("nothing_to_boot", remedy="put an image with a kernel in it into image/, or a kernel at boot/linux")
