"""Keeps what is served in step with image/: images come and change, kernels are found in them, sums are made."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from appliance.deployment.deployments import Deployments
from appliance.images.catalog import Catalog, Entry
from appliance.images.changes import Changes
from appliance.images.checksums import Checksums
from appliance.menus.model import Menu
from appliance.plan import Plans
from appliance.tree import Tree

WORKER_NICE = 10  # of what can wait: unpacking initramfs archives, making them

log = structlog.get_logger()


class ImageKeeper:
    """Looks at image/ again and again, and has what is new served."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        changes: Changes,
        checksums: Checksums,
        deployments: Deployments,
        plans: Plans,
        tree: Tree,
        on_added: Callable[[Entry], None],
        every: float,
    ) -> None:
        """`on_added` is called with each new image, in the event loop; `every` are the seconds between looks."""
        self._catalog = catalog
        self._changes = changes
        self._checksums = checksums
        self._deployments = deployments
        self._plans = plans
        self._tree = tree
        self._on_added = on_added
        self._every = every
        self.menu: Menu
        self._read_menu()

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._checksums.run())
            group.create_task(self._deploy())

    async def _watch(self) -> None:
        while True:
            added, complaints = await asyncio.to_thread(self._catalog.refresh)
            await asyncio.to_thread(self._read_menu)
            for entry in added:
                self._on_added(entry)
                log.info(
                    "image_added", image=entry.name, format=entry.format, bytes=entry.image.size, target=entry.target
                )
            for name, why in complaints.items():
                log.warning("image_ignored", image=name, reason=why)
            identities = await asyncio.to_thread(self._changes.look, list(self._catalog))
            await asyncio.to_thread(self._catalog.follow, identities)
            self._checksums.look(identities)
            if self._tree.sums is not None:
                await asyncio.to_thread(self._tree.sums.look)
            await asyncio.sleep(self._every)

    async def _deploy(self) -> None:
        """Look into images and make what they lack, in a thread that gives way to whoever serves clients."""
        loop = asyncio.get_running_loop()
        worker = ThreadPoolExecutor(1, thread_name_prefix="deployment", initializer=_give_way)
        try:
            while True:
                await loop.run_in_executor(worker, self._look_into_images)
                await asyncio.sleep(self._every)
        finally:
            self._deployments.stop()
            worker.shutdown(wait=False, cancel_futures=True)

    def _look_into_images(self) -> None:
        if self._tree.images_boot():
            self._deployments.refresh(self._plans.needs_own, self._read_menu)

    def _read_menu(self) -> None:
        """What the timeline tells kernels and initrds by; machines are given the new ones from this moment on."""
        self.menu = self._tree.repertoire()


def _give_way() -> None:
    """Have this thread, and it alone, run when others have nothing to do."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), WORKER_NICE)
