"""appliance.exports.service: what client configurations name of machines' own, and when."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.config import load_config
from appliance.exports.service import ExportService
from appliance.images.catalog import Catalog
from appliance.plan import Plans
from appliance.timeline.stage import Stage
from storage.errors import StorageError
from tests.appliance.exports.test_targets import Server

OWN, OTHER, IDLE = "52:54:00:a1:b2:c3", "52:54:00:00:00:01", "52:54:00:00:00:03"


def make_service(config: Path, folder: Path, plans: Callable[[], Plans]) -> ExportService:
    """The disks, as a process that starts now finds them."""
    return ExportService(
        load_config(config),
        folder / "state",
        aoe=Server(),
        connections=list,
        mac_of={"203.0.113.1": OWN, "203.0.113.2": OTHER}.get,
        image=lambda name: None,
        boots_over_aoe=lambda mac: plans().for_machine(mac).root == "aoe",
    )


def throw_away(config: Path) -> None:
    """Have each boot begin anew."""
    config.write_text('[boot]\nwrite = "discard"\nwrite_size = "1MiB"\nroot = "nbd"\n')


class TestService:
    """What a client configuration names of a machine's own."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        """Everyone keeps what they write; one boots over AoE, one writes nothing."""
        path = tmp_path / "rootwire.toml"
        path.write_text(
            '[boot]\nwrite = "keep"\nswap_size = "1MiB"\nroot = "nbd"\n'
            f'[machines."{OWN}"]\nroot = "aoe"\n[machines."{IDLE}"]\nwrite = "none"\n'
        )
        return path

    @pytest.fixture
    def plans(self, config: Path, tmp_path: Path) -> tuple[Plans, ExportService]:
        """The plans, and the disks that they name."""
        (tmp_path / "image").mkdir()
        (tmp_path / "image/edge").write_bytes(b"hsqs" + bytes(8192))
        settings, catalog = load_config(config), Catalog(tmp_path / "image")
        catalog.load()
        service = make_service(config, tmp_path, lambda: plans)
        plans = Plans(settings, catalog, server="10.0.0.9", private=service.private)
        return plans, service

    @staticmethod
    def names(plans: Plans, mac: str) -> str:
        """The client configuration's own words."""
        return (plans.kiwi_config(mac) or b"").decode()

    async def test_over_nbd(self, plans: tuple[Plans, ExportService]) -> None:
        """Swap and disk by name, no field of the seven empty; F5 of the contract."""
        root = "10.0.0.9;edge;/dev/nbd0;swap-525400000001;/dev/nbd1;rw-525400000001;/dev/nbd2"
        assert f"NBDROOT='{root}'\n" in self.names(plans[0], OTHER)
        assert "UNIONFS_CONFIG='nbd,nbd,overlay'\n" in self.names(plans[0], OTHER)

    async def test_without_a_disk(self, plans: tuple[Plans, ExportService]) -> None:
        """Where it swaps, it writes to memory."""
        assert "UNIONFS_CONFIG='tmpfs,nbd,overlay'\n" in self.names(plans[0], IDLE)

    async def test_over_aoe(self, plans: tuple[Plans, ExportService]) -> None:
        """From the machine's own first question on; F6b of the contract."""
        made, service = plans
        await service.prepare(OWN, "203.0.113.1")
        assert "AOEROOT='/dev/etherd/e0.1,/dev/etherd/e16.1'\n" in self.names(made, OWN)
        assert service.private(OWN).swap is None

    async def test_an_address_is_given_to_its_machine_only(self, plans: tuple[Plans, ExportService]) -> None:
        """Others may ask for the configuration, for as many machines as they like."""
        made, service = plans
        for client in ("203.0.113.2", "203.0.113.3"):
            await service.prepare(OWN, client)
        await service.prepare(OTHER, "203.0.113.2")
        assert "AOEROOT='/dev/etherd/e0.1'\n" in self.names(made, OWN)
        assert service.targets.address(OTHER) is None

    async def test_without_an_address_there_is_no_configuration(
        self, plans: tuple[Plans, ExportService], tmp_path: Path
    ) -> None:
        """A machine that is to keep its changes would lose them."""
        (tmp_path / "state/exports/addresses.json.part").mkdir(parents=True)
        with pytest.raises(StorageError, match="can't be kept"):
            await plans[1].prepare(OWN, "203.0.113.1")

    async def test_a_target_is_shown_when_the_firmware_is_done(self, plans: tuple[Plans, ExportService]) -> None:
        """Not before: it may still have the old one open."""
        service = plans[1]
        service.note_step(OWN, Stage.DISCOVERED, second_stage=False)
        service.note_step(OTHER, Stage.KERNEL, second_stage=False)
        assert service.targets._waiting == {}
        service.note_step(OWN, Stage.KERNEL, second_stage=False)
        assert list(service.targets._waiting) == [OWN]

    async def test_a_boot_that_began_before_the_appliance_did(
        self, plans: tuple[Plans, ExportService], config: Path, tmp_path: Path
    ) -> None:
        """What is thrown away at each boot is so when the machine fetches its kernel, and not again in that boot."""
        throw_away(config)
        service = make_service(config, tmp_path, lambda: plans[0])
        image = await service.exports.find("rw-525400000001", "203.0.113.2")
        await asyncio.to_thread(image.write_at, 0, b"old")
        await asyncio.to_thread(image.sync)
        service = make_service(config, tmp_path, lambda: plans[0])
        service.note_step(OTHER, Stage.KERNEL, second_stage=False)
        image = await service.exports.find("rw-525400000001", "203.0.113.2")
        assert await asyncio.to_thread(image.read_at, 0, 3) == bytes(3)
        await asyncio.to_thread(image.write_at, 0, b"new")
        service.note_step(OTHER, Stage.CLIENT_CONFIG, second_stage=False)
        image = await service.exports.find("rw-525400000001", "203.0.113.2")
        assert await asyncio.to_thread(image.read_at, 0, 3) == b"new"
