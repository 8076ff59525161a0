"""appliance.exports.exports: each machine its own disk, fresh or kept by policy, and one user at a time."""

import asyncio
from dataclasses import replace
from errno import ENOENT, ESTALE
from pathlib import Path

import pytest

from appliance.exports.disks import Disks
from appliance.exports.exports import Exports
from appliance.exports.limits import ExportLimits
from appliance.exports.names import Kind
from storage.errors import StorageError
from storage.image import BytesImage, Image
from storage.layerfile import BaseChangedError
from tests.appliance.exports.conftest import KEEP, MIB, MINE, World

RW, SWAP, OTHERS = "rw-525400A1B2C3", "swap-525400A1B2C3", "rw-525400000002"
HOME, AWAY = "10.0.0.1", "10.0.0.2"


async def content(exports: Exports, name: str = RW, client: str = HOME) -> bytes:
    """How a disk begins."""
    image = await exports.find(name, client)
    return await asyncio.to_thread(image.read_at, 0, 4)


async def put(exports: Exports, data: bytes = b"mine", name: str = RW, client: str = HOME) -> Image:
    """Write to a disk, as a client that stays connected."""
    image = await exports.find(name, client)
    await asyncio.to_thread(image.write_at, 0, data)
    await asyncio.to_thread(image.sync)
    return image


class TestWhose:
    """No client reaches another's."""

    async def test_each_has_its_own(self, world: World) -> None:
        """What one writes the other does not see."""
        exports = world.exports()
        await put(exports, b"mine")
        await put(exports, b"them", OTHERS, AWAY)
        assert await content(exports) == b"mine"
        assert await content(exports, OTHERS, AWAY) == b"them"

    @pytest.mark.parametrize("name", [OTHERS, "swap-525400000002", "rw-5254000000FF", "root", ""])
    async def test_anothers_is_not_there(self, world: World, name: str) -> None:
        """Not a word of whether there is one."""
        exports = world.exports()
        await put(exports, b"them", OTHERS, AWAY)
        with pytest.raises(FileNotFoundError):
            await exports.find(name, HOME)

    async def test_who_is_not_known_has_none(self, world: World) -> None:
        """Nor does an address that changed hands have what its last holder had."""
        exports = world.exports()
        with pytest.raises(FileNotFoundError):
            await exports.find(RW, "10.0.0.9")
        world.owners[HOME] = world.owners.pop(AWAY)
        with pytest.raises(FileNotFoundError):
            await exports.find(RW, HOME)

    def test_only_ones_own_are_listed(self, world: World) -> None:
        """To who is not known, none."""
        exports = world.exports()
        assert exports.names(HOME) == [RW, SWAP]
        assert exports.names("10.0.0.9") == []

    async def test_by_policy_none(self, world: World) -> None:
        """Not listed, not found, though there may still be a disk."""
        await put(world.exports())
        world.policies[MINE] = replace(KEEP, write="none", swap_size=0)
        exports = world.exports()
        assert exports.names(HOME) == []
        with pytest.raises(FileNotFoundError):
            await exports.find(RW, HOME)


class TestDisks:
    """What is in them."""

    async def test_a_blank_one(self, world: World) -> None:
        """Zeros, writable, as large as the policy says."""
        image = await world.exports().find(RW, HOME)
        assert (image.size, image.writable) == (KEEP.write_size, True)
        assert await asyncio.to_thread(image.read_at, 0, MIB) == bytes(MIB)

    async def test_over_a_base(self, world: World) -> None:
        """That nobody writes to."""
        world.policies[MINE] = replace(KEEP, write_base="base")
        exports = world.exports()
        assert await content(exports) == b"base"
        await put(exports)
        assert world.images["base"].read_at(0, 4) == b"base"
        assert await content(world.exports()) == b"mine"

    async def test_over_a_base_that_is_not_there(self, world: World) -> None:
        """As a file would be."""
        world.policies[MINE] = replace(KEEP, write_base="gone")
        with pytest.raises(StorageError) as raised:
            await world.exports().find(RW, HOME)
        assert raised.value.errno == ENOENT

    async def test_over_a_base_that_changed(self, world: World) -> None:
        """What is kept is not served over another; what is thrown away begins anew."""
        world.policies[MINE] = replace(KEEP, write_base="base")
        await put(world.exports())
        world.images["base"] = BytesImage(b"BASE" * 4096)
        with pytest.raises(BaseChangedError):
            await world.exports().find(RW, HOME)
        world.policies[MINE] = replace(KEEP, write_base="base", write="discard")
        assert await content(world.exports()) == b"BASE"

    async def test_swap_has_its_signature(self, world: World) -> None:
        """From the beginning."""
        image = await world.exports().find(SWAP, HOME)
        assert image.size == KEEP.swap_size
        assert await asyncio.to_thread(image.read_at, 4086, 10) == b"SWAPSPACE2"

    async def test_a_quota(self, world: World) -> None:
        """Of the machine's own policy."""
        world.policies[MINE] = replace(KEEP, write_quota=MIB)
        image = await world.exports().find(RW, HOME)
        await asyncio.to_thread(image.write_at, 0, b"x" * MIB)
        with pytest.raises(StorageError, match="No space"):
            await asyncio.to_thread(image.write_at, MIB, b"x")

    async def test_there_is_an_end_of_machines(self, world: World) -> None:
        """Those that have disks keep them."""
        world.disks = Disks(world.disks.folder.parent, ExportLimits(machines=1))
        exports = world.exports()
        await put(exports)
        with pytest.raises(OSError, match=r"limits\.exports\.machines"):
            await exports.find(OTHERS, AWAY)
        await exports.find(SWAP, HOME)

    async def test_how_full_they_are(self, world: World) -> None:
        """Of open ones to the cluster; of others what the file takes."""
        exports = world.exports()
        assert exports.used(Kind.WRITE, MINE) is None
        image = await put(exports)
        assert exports.used(Kind.WRITE, MINE) == 4096
        del image
        assert [(disk.mac, disk.kind, disk.size) for disk in world.disks] == [(MINE, Kind.WRITE, KEEP.write_size)]

    async def test_a_spoilt_one_is_still_listed(self, world: World) -> None:
        """With no size; what is no machine's folder is not."""
        world.policies[MINE] = replace(KEEP, write_base="base")
        await put(world.exports())
        next(world.disks.folder.glob("*/write.cow")).write_bytes(b"spoilt")
        (world.disks.folder / "lost+found").mkdir()
        (world.disks.folder / "525400a1b2c3").mkdir()
        assert [disk.size for disk in world.disks] == [0]


class TestUsers:
    """One at a time."""

    async def test_a_new_connection_ends_the_old(self, world: World) -> None:
        """As soon as it does anything: the old one's writes come too late."""
        exports = world.exports()
        old = await put(exports, b"old.")
        new = await put(exports, b"new.")
        with pytest.raises(StorageError) as raised:
            await asyncio.to_thread(old.write_at, 0, b"old!")
        assert raised.value.errno == ESTALE
        assert await asyncio.to_thread(new.read_at, 0, 4) == b"new."

    async def test_many_at_once_make_one_disk(self, world: World) -> None:
        """Whoever comes first makes it."""
        exports = world.exports()
        images = await asyncio.gather(*(exports.find(RW, HOME) for _ in range(8)))
        assert len({id(image.tenure) for image in images}) == 1  # type: ignore[attr-defined]  # they are leases


class TestNewBoots:
    """Kept, or thrown away."""

    async def test_what_is_kept_outlives_boots(self, world: World) -> None:
        """And restarts of the appliance; swap does not."""
        exports = world.exports()
        await put(exports)
        await put(exports, b"swap", SWAP)
        for opened in (exports, world.exports()):
            opened.note_boot(MINE)
            assert await content(opened) == b"mine"
            assert await content(opened, SWAP) == bytes(4)

    async def test_what_is_thrown_away_is_so_once(self, world: World) -> None:
        """At the first connection of a boot, not at those after it."""
        world.policies[MINE] = replace(KEEP, write="discard")
        exports = world.exports()
        old = await put(exports)
        exports.note_boot(MINE)
        assert await content(exports) == bytes(4)
        await put(exports, b"next")
        assert await content(exports) == b"next"
        with pytest.raises(StorageError):
            await asyncio.to_thread(old.read_at, 0, 4)

    async def test_a_restart_of_the_appliance_is_no_boot(self, world: World) -> None:
        """A machine that runs on finds what it had."""
        world.policies[MINE] = replace(KEEP, write="discard")
        await put(world.exports())
        assert await content(world.exports()) == b"mine"

    async def test_not_while_it_is_being_used(self, world: World) -> None:
        """Whoever said that it boots was not the machine."""
        world.policies[MINE] = replace(KEEP, write="discard")
        exports = world.exports()
        world.requests[RW] = 10
        await put(exports)
        exports.note_boot(MINE)
        world.requests[RW] = 11
        assert await content(exports) == b"mine"

    async def test_a_machine_without_disks_leaves_no_trace(self, world: World) -> None:
        """Anyone can claim to boot, in any name."""
        exports = world.exports()
        exports.note_boot("52:54:00:00:00:77")
        assert exports._rebooted == {}


class TestOperators:
    """What a person throws away."""

    async def test_reset(self, world: World) -> None:
        """New for whoever opens it next; its user gets errors."""
        exports = world.exports()
        user = await put(exports)
        await exports.reset(Kind.WRITE, MINE)
        with pytest.raises(StorageError):
            await asyncio.to_thread(user.read_at, 0, 4)
        assert await content(exports) == bytes(4)

    async def test_forget(self, world: World, tmp_path: Path) -> None:
        """Nothing is left, and nothing of others is touched."""
        exports = world.exports()
        await put(exports)
        await put(exports, b"swap", SWAP)
        await put(exports, b"them", OTHERS, AWAY)
        await exports.forget(MINE)
        await exports.forget(MINE)
        assert [disk.mac for disk in world.disks] == ["52:54:00:00:00:02"]
        assert await content(exports, OTHERS, AWAY) == b"them"
