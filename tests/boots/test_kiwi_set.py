"""KIWI's own work, imported, boots; collected where deploy/kiwi/build has made it (conftest.py)."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.lab.run import DEMO
from tests.boots.conftest import KIWI_SETS
from tests.boots.test_import import assert_by_its_set, boot

pytestmark = [pytest.mark.root, pytest.mark.qemu]


async def test_a_kis_tarball_of_kiwis(lab_folder: Callable[[], Path], demo_tree: object) -> None:
    """Built by kiwi 9.24 of Debian 12."""
    newest = sorted(DEMO.glob(KIWI_SETS))[-1]
    client, image = await boot(lab_folder(), newest, "/usr/sbin/rootwire-demo")
    assert_by_its_set(client, image)
