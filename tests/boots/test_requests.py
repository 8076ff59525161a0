"""What a client asks its server for, in order, and what it makes of the answers.

The fixtures F1, F2, F3, F4, F6, F11 and F12 of KIWI's contract, with the differences that the client's init lists:
sha256 is asked for as well. A group's machine gets one final configuration as the answer to its first question, and so
asks for neither config.group nor the hardware map; tests/appliance/initrd/test_groups.py is about those.
"""

import asyncio
import gzip
import lzma
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.lab.client import Client
from deploy.lab.console import Mark
from deploy.lab.lab import Lab
from deploy.lab.network import BOX_ADDRESS
from deploy.lab.plan import ClientPlan
from deploy.lab.server import ROOTWIRE, BootSettings, Rootwire
from tests.boots.tiny import IMAGE, NAME, VERSION, TinyParts, address_of, boot_tiny, opened, requests, tiny_lab, told
from tests.boots.verdict import describe

pytestmark = [pytest.mark.root, pytest.mark.qemu]

PLANS = [ClientPlan(0, "bios", "ram", memory=256), ClientPlan(1, "bios", "ram", memory=256)]
SETTINGS = BootSettings(
    machines=False,
    tables=f"""
[kiwi]
unknown = "register"

[kiwi.groups.tills.client]
image = [{{ device = "/dev/ram1", name = "{NAME}", version = "{VERSION}" }}]
unionfs_config = "tmpfs,/dev/ram1,overlay"
""",
)
OVER_NBD = f"NBDROOT='{BOX_ADDRESS};{IMAGE};/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n"
OVER_AOE = "AOEROOT='/dev/etherd/e0.1'\nUNIONFS_CONFIG='tmpfs,aoe,overlay'\n"
SUMS = [f"image/{IMAGE}.md5", f"image/{IMAGE}.sha256"]
ENROL_SECONDS = 60


def in_memory(compression: str = "") -> str:
    """F1's two lines; the image compressed, where that is said."""
    image = f"/dev/ram1;{NAME};{VERSION};{BOX_ADDRESS};4096{compression}"
    return f"IMAGE='{image}'\nUNIONFS_CONFIG='/dev/ram2,/dev/ram1,overlay'\n"


def own_config(number: int) -> str:
    """The first file that a machine asks for."""
    return f"KIWI/config.{PLANS[number].mac.upper()}"


def group_of(mac: str) -> dict[str, str]:
    """F11's files: a group, a map, and a file that both have."""
    target = f"/etc/X11/xorg.conf;{BOX_ADDRESS};4096"
    lookup = f"HARDWARE_MAP='foo'\nfoo_HARDWARE_MAP='{mac}'\n"
    return {
        "KIWI/config.group": f"KIWI_GROUP='pos, office'\npos_KIWI_MAC_LIST='{mac}'\n",
        "KIWI/config.pos": f"{in_memory(';compressed')}CONF='conf/xorg;{target}'\n{lookup}",
        "KIWI/hardware_config.foo": f"VENDOR_CONF='conf/xorg.foo;{target}'\n",
    }


@dataclass(frozen=True, slots=True)
class Seen:
    """A boot, and what was asked for in it."""

    client: Client
    requests: list[str]
    opened: list[str]

    @property
    def misses(self) -> list[str]:
        """The ten questions before config.default, none of which has an answer."""
        digits = "".join(f"{int(part):02X}" for part in address_of(self.client).split("."))
        names = [self.client.plan.mac.upper(), "group", *(digits[:length] for length in range(8, 0, -1))]
        return [f"KIWI/config.{name}!" for name in names]


class Bench:
    """A lab whose files change between boots."""

    def __init__(self, lab: Lab, parts: TinyParts) -> None:
        self.lab = lab
        self._parts = parts
        self._attempt = 0

    async def boot(self, *servertypes: str, on_change: Callable[[Client], None] = lambda client: None) -> list[Seen]:
        """Boot the machines side by side, the first over the first of these protocols, and so on."""
        self._attempt += 1
        boots = (
            boot_tiny(
                self.lab, self._parts, number=number, attempt=self._attempt, servertype=servertype, on_change=on_change
            )
            for number, servertype in enumerate(servertypes)
        )
        return [self._seen(client) for client in await asyncio.gather(*boots)]

    def _seen(self, client: Client) -> Seen:
        return Seen(client, requests(self.lab, client), opened(self.lab, client))

    def write(self, files: dict[str, str]) -> None:
        """Put configurations into KIWI/."""
        (self.lab.root / "KIWI").mkdir(exist_ok=True)
        for path, text in files.items():
            (self.lab.root / path).write_text(text)

    async def enrol(self, *words: str) -> None:
        """Say where the first machine belongs, on the command line."""
        assert isinstance(self.lab.server, Rootwire)
        command = [str(ROOTWIRE), "enroll", PLANS[0].mac, *words, "--socket", str(self.lab.server.socket)]
        await asyncio.to_thread(lambda: subprocess.run(command, check=True, timeout=ENROL_SECONDS))

    async def register(self) -> Seen:
        """Boot the first machine, and enrol it once it waits for that."""
        waits = asyncio.Event()

        def note(client: Client) -> None:
            if Mark.WAITING in client.seen or client.failure is not None:
                waits.set()

        boot = asyncio.create_task(self.boot("tftp", on_change=note))
        await waits.wait()
        await self.enrol("--group", "tills")
        [seen] = await boot
        await self.enrol()
        return seen


@pytest.fixture(scope="module")
def seen(parts: TinyParts, lab_folder: Callable[[], Path]) -> dict[str, Seen]:
    """The boots of all fixtures by name: in one lab, two side by side where their files don't disturb each other."""
    folder = lab_folder()
    image = parts.squashfs.read_bytes()
    files = {
        f"image/{IMAGE}.xz": lzma.compress(image),
        f"image/{IMAGE}.gz": gzip.compress(image),
        "conf/xorg": b"of the group\n",
        "conf/xorg.foo": b"of the map\n",
    }
    tree = parts.tree(folder / "files", None, image=parts.squashfs, files=files)

    async def run() -> dict[str, Seen]:
        async with tiny_lab(folder / "lab", tree, PLANS, SETTINGS) as lab:
            bench = Bench(lab, parts)
            registered = await bench.register()
            bench.write({"KIWI/config.default": in_memory()})
            over_tftp, over_http = await bench.boot("tftp", "http")
            bench.write({own_config(0): in_memory(";compressed-xz"), **group_of(PLANS[1].mac.upper())})
            own, grouped = await bench.boot("tftp", "tftp")
            bench.write({own_config(0): OVER_NBD, own_config(1): OVER_AOE})
            nbd, aoe = await bench.boot("tftp", "http")
        remote = {"F4": nbd, "F6": aoe}
        return {"F12": registered, "F1": over_tftp, "F3": over_http, "F2": own, "F11": grouped, **remote}

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["F1", "F2", "F3", "F11", "F12"])
def test_it_boots_into_memory(seen: dict[str, Seen], name: str) -> None:
    """The image verified by its sha256 and mounted below an overlay; the root's own init runs to its end."""
    client = seen[name].client
    assert client.succeeded, describe(client)
    assert told(client)[:2] == ["boots=1", "mount rootwire / overlay rw"], describe(client)
    assert ", sha256 " in client.log.read_text(errors="replace"), describe(client)


@pytest.mark.parametrize("name", ["F1", "F3"])
def test_the_default_configuration_is_the_eleventh_question(seen: dict[str, Seen], name: str) -> None:
    """Over TFTP and over HTTP: the machine's, the group's, eight by address, then everybody's."""
    found = seen[name]
    assert found.requests == [*found.misses, "KIWI/config.default", *SUMS, f"image/{IMAGE}"], describe(found.client)


def test_a_machines_own_configuration_is_the_first_question(seen: dict[str, Seen]) -> None:
    """And the image may come as xz (F2)."""
    assert seen["F2"].requests == [own_config(0), *SUMS, f"image/{IMAGE}.xz"], describe(seen["F2"].client)


def test_a_group_and_a_hardware_map_are_one_configuration(seen: dict[str, Seen]) -> None:
    """The map's file in place of the group's; the image as gzip (F11)."""
    found = seen["F11"]
    assert found.requests == [own_config(1), *SUMS, f"image/{IMAGE}.gz", "conf/xorg.foo"], describe(found.client)
    assert "xorg.conf of the map" in told(found.client)


def test_a_machine_that_nobody_knows_registers_and_waits(seen: dict[str, Seen]) -> None:
    """Once; it asks again until rootwire enroll has said what it is (F12)."""
    found = seen["F12"]
    missed = [*found.misses, "KIWI/config.default!"]
    upload = f"upload upload/client.{PLANS[0].mac.upper()}"
    assert found.requests[:12] == [*missed, upload], describe(found.client)
    rounds = found.requests[12:-4]
    assert rounds == missed * (len(rounds) // len(missed)), describe(found.client)
    assert found.requests[-4:] == [own_config(0), *SUMS, f"image/{IMAGE}"], describe(found.client)


@pytest.mark.parametrize(("name", "number", "device"), [("F4", 0, IMAGE), ("F6", 1, "e0.1")])
def test_a_remote_root_is_all_that_is_asked_for(seen: dict[str, Seen], name: str, number: int, device: str) -> None:
    """Its configuration, over TFTP or HTTP, then the export or target; no image, no checksum; changes go to memory."""
    found = seen[name]
    assert found.requests == [own_config(number)], describe(found.client)
    assert set(found.opened) == {device}, describe(found.client)
    assert found.client.succeeded, describe(found.client)
    assert told(found.client)[:2] == ["boots=1", "mount rootwire / overlay rw"], describe(found.client)
