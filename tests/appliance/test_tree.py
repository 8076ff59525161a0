"""The boot tree: what names reach, what they must not, and what is made up where the operator wrote nothing."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config import Config
from appliance.images.catalog import Catalog
from appliance.images.checksums import Checksums
from appliance.images.memory import Memory
from appliance.menus.files import ipxe_script_name
from appliance.names import normalise
from appliance.plan import Plans
from appliance.tree import Tree
from storage.image import Image

CLIENT = "10.77.0.51"
SERVER = "10.77.0.2"
SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
MAC = "52:54:00:77:00:01"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The least tree: a kernel, an initrd and one image; and a secret beside it."""
    folder = tmp_path / "srv"
    for name, content in {
        "boot/linux": b"kernel",
        "boot/initrd": b"initrd",
        "image/edge.x86_64-1.2.0": SQUASHFS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (tmp_path / "secret").write_text("secret")
    return folder


def tree_of(root: Path, loader: Path | None = None, **config: object) -> Tree:
    """A tree over `root` with the configuration's tables given as keywords."""
    catalog = Catalog(root / "image")
    catalog.load()
    plans = Plans(Config.model_validate(config), catalog, server=SERVER)
    return Tree(root, catalog=catalog, plans=plans, server=SERVER, find_loader=lambda name: loader)


def content(image: Image) -> bytes:
    """All bytes of an image."""
    return image.read_at(0, image.size)


async def text(tree: Tree, name: str) -> str:
    """What a client reads under `name`."""
    return content(await tree.open(name, CLIENT)).decode()


@pytest.mark.parametrize(
    "name", ["boot/linux", "/boot/linux", "//boot//linux", "\\boot\\linux", "./boot/./linux", "BOOT/Linux"]
)
async def test_a_file_is_found_however_clients_spell_it(root: Path, name: str) -> None:
    """Leading and doubled slashes, backslashes, other case."""
    assert await text(tree_of(root), name) == "kernel"


@pytest.mark.parametrize("name", ["../secret", "boot/../../secret", "..\\secret", "/..", "boot/\x00", "boot/linux\n"])
async def test_names_that_climb_out_are_refused(root: Path, name: str) -> None:
    """By dots, backslashes or control characters."""
    with pytest.raises(PermissionError):
        await tree_of(root).open(name, CLIENT)


@pytest.mark.parametrize("name", ["", "/", "nothing", "boot", "boot/linux/x", "x" * 2000, "etc/passwd", "/etc/passwd"])
async def test_what_is_not_there_is_not_found(root: Path, name: str) -> None:
    """A folder is no file; an absolute path is one below the root."""
    with pytest.raises(FileNotFoundError):
        await tree_of(root).open(name, CLIENT)


async def test_links_may_lead_anywhere_inside_and_nowhere_outside(root: Path) -> None:
    """A link to a sibling is served, one to the world, to uploads or to itself is not."""
    (root / "vmlinuz").symlink_to("boot/linux")
    (root / "out").symlink_to("../secret")
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("upload/client")
    (root / "upload").mkdir()
    (root / "upload/client").write_text("hostile")
    tree = tree_of(root)
    assert await text(tree, "vmlinuz") == "kernel"
    for name in ("out", "OUT", "loop", "up"):
        with pytest.raises(PermissionError):
            await tree.open(name, CLIENT)


@pytest.mark.parametrize("name", ["upload/client.52:54:00:77:00:01", "/UPLOAD/x"])
async def test_uploads_are_never_served_back(root: Path, name: str) -> None:
    """Anyone on the segment could have written them."""
    with pytest.raises(PermissionError):
        await tree_of(root).open(name, CLIENT)


async def test_a_folder_linked_out_of_the_tree_is_not_listed(root: Path) -> None:
    """The search without regard to case must not look outside either."""
    (root / "evil").symlink_to("..")
    with pytest.raises((FileNotFoundError, PermissionError)):
        await tree_of(root).open("evil/SECRET", CLIENT)


async def test_the_least_tree_boots(root: Path) -> None:
    """Menu, script and client configuration are made for a kernel, an initrd and one image."""
    tree = tree_of(root)
    assert "LINUX boot/linux" in await text(tree, "pxelinux.cfg/default")
    assert f"kiwiserver={SERVER} kiwiservertype=http" in await text(tree, "boot.ipxe")
    assert await text(tree, "KIWI/config.default") == (
        f"NBDROOT='{SERVER};edge.x86_64-1.2.0;/dev/nbd0'\nUNIONFS_CONFIG='tmpfs,nbd,overlay'\n"
    )
    assert await text(tree, f"KIWI/config.{MAC.upper()}") == await text(tree, "KIWI/config.default")


async def test_a_machine_with_its_own_table_gets_its_own_files(root: Path) -> None:
    """Root, command line, menu and script by MAC."""
    tree = tree_of(root, machines={MAC.upper(): {"root": "aoe", "append": "console=ttyS0"}})
    assert "AOEROOT='/dev/etherd/e0.1'" in await text(tree, f"KIWI/config.{MAC}")
    assert "console=ttyS0" in await text(tree, "pxelinux.cfg/01-52-54-00-77-00-01")
    assert "console=ttyS0" in await text(tree, ipxe_script_name(MAC))
    assert "console=ttyS0" not in await text(tree, ipxe_script_name(None))


async def test_the_operators_files_win(root: Path) -> None:
    """A written menu is served as it is, and the script follows it; a written configuration is compiled anew."""
    (root / "pxelinux.cfg").mkdir()
    (root / "pxelinux.cfg/default").write_text("LABEL mine\nKERNEL boot/linux\nAPPEND mine=1\n")
    (root / "KIWI").mkdir()
    (root / "KIWI/config.default").write_text("NFSROOT=10.0.0.9;/x\n")
    (root / "KIWI/config.52.54.00.77.00.01").write_text("NFSROOT='10.0.0.9;/dots'\n")
    tree = tree_of(root, machines={MAC: {"root": "aoe"}})
    assert "mine=1" in await text(tree, "pxelinux.cfg/default")
    assert "mine=1" in await text(tree, "boot.ipxe")
    assert await text(tree, "KIWI/config.default") == "NFSROOT='10.0.0.9;/x'\n"
    assert await text(tree, "KIWI/config.52:54:00:77:00:01") == "NFSROOT='10.0.0.9;/dots'\n"
    with pytest.raises(FileNotFoundError):
        await tree.open("KIWI/config.52:54:00:77:00:02", CLIENT)
    with pytest.raises(FileNotFoundError):
        await tree.open("pxelinux.cfg/01-52-54-00-77-00-01", CLIENT)


@contextlib.asynccontextmanager
async def summing(root: Path) -> AsyncIterator[Tree]:
    """A tree with the job that makes checksums."""
    tree, checksums = summed(root)
    job = asyncio.create_task(checksums.run())
    yield tree
    job.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await job


def summed(root: Path) -> tuple[Tree, Checksums]:
    """A tree, and what its checksums come from."""
    catalog = Catalog(root / "image")
    catalog.load()
    checksums = Checksums(catalog, Memory(root))
    plans = Plans(Config(), catalog, server=SERVER)
    return Tree(root, catalog=catalog, plans=plans, server=SERVER, checksums=checksums), checksums


async def test_what_a_configuration_names_is_made_first(root: Path) -> None:
    """For the machine that is asked about, in whatever spelling, and whoever asks."""
    catalog = Catalog(root / "image")
    catalog.load()
    told: list[tuple[str, str]] = []

    async def prepare(mac: str, client: str) -> None:
        told.append((mac, client))

    tree = Tree(root, catalog=catalog, plans=Plans(Config(), catalog, server=SERVER), server=SERVER, prepare=prepare)
    await text(tree, "/KIWI/config.52-54-00-A1-B2-C3")
    await text(tree, "KIWI/config.default")
    assert told == [("52:54:00:a1:b2:c3", CLIENT)]


@pytest.mark.parametrize("kind", ["md5", "sha256"])
async def test_checksums_are_made_where_there_are_none(root: Path, kind: str) -> None:
    """KIWI's client cannot boot without .md5, which its builder no longer writes; today's asks .sha256."""
    async with summing(root) as tree:
        line = await text(tree, f"image/edge.x86_64-1.2.0.{kind}")
    assert line == f"{hashlib.new(kind, SQUASHFS).hexdigest()} 1 4096\n"


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
async def test_checksums_tell_of_the_compressed_form(root: Path, suffix: str) -> None:
    """Five fields: the sum and size of the image, the size of what is fetched."""
    (root / f"image/edge.x86_64-1.2.0{suffix}").write_bytes(bytes(6))
    async with summing(root) as tree:
        line = await text(tree, "image/edge.x86_64-1.2.0.md5")
    assert line == f"{hashlib.md5(SQUASHFS).hexdigest()} 1 4096 1 6\n"


async def test_the_operators_checksum_wins(root: Path) -> None:
    """Whoever wrote it knows why."""
    (root / "image/edge.x86_64-1.2.0.md5").write_text("own")
    async with summing(root) as tree:
        assert await text(tree, "image/edge.x86_64-1.2.0.md5") == "own"


async def test_there_is_no_checksum_of_what_is_no_image(root: Path) -> None:
    """Nor any but these two, nor outside of image/."""
    async with summing(root) as tree:
        for name in ("image/none.md5", "boot/linux.md5", "image/edge.x86_64-1.2.0.sha512", "image/.md5"):
            with pytest.raises(FileNotFoundError):
                await tree.open(name, CLIENT)


async def test_what_is_remembered_is_not_served(root: Path) -> None:
    """It is the appliance's own."""
    async with summing(root) as tree:
        await tree.open("image/edge.x86_64-1.2.0.md5", CLIENT)
        with pytest.raises(PermissionError):
            await tree.open(".rootwire/checksums.json", CLIENT)


async def test_an_image_without_a_version_is_found_as_the_client_asks_it(root: Path) -> None:
    """The client joins name and version with a dash; such an image has version 0."""
    (root / "image/root").write_bytes(SQUASHFS)
    tree = tree_of(root, boot={"root": "ram", "image": "root"})
    assert "IMAGE='/dev/ram1;root;0;" in await text(tree, "KIWI/config.default")
    assert content(await tree.open("image/root-0", CLIENT)) == SQUASHFS
    async with summing(root) as tree:
        assert (await text(tree, "image/root-0.md5")).endswith(" 1 4096\n")


async def test_no_image_no_client_configuration(tmp_path: Path) -> None:
    """A client is better told that there is none than sent to an export that does not exist."""
    with pytest.raises(FileNotFoundError):
        await tree_of(tmp_path).open("KIWI/config.default", CLIENT)


async def test_loaders_come_from_debians_packages(root: Path, tmp_path: Path) -> None:
    """A loader is served from where it is installed, unless the tree has one of the name."""
    loader = tmp_path / "pxelinux.0"
    loader.write_bytes(b"debian")
    assert await text(tree_of(root, loader), "pxelinux.0") == "debian"
    (root / "pxelinux.0").write_bytes(b"own")
    assert await text(tree_of(root, loader), "pxelinux.0") == "own"


NAMES = st.text(max_size=40) | st.lists(
    st.sampled_from(["boot", "linux", "image", "KIWI", "config.", "..", ".", "\\", "\ud800", "a" * 300, "boot.ipxe"]),
    max_size=6,
).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
async def test_no_name_brings_anything_but_a_file_or_a_refusal(root: Path, name: str) -> None:
    """Whatever a stranger asks for, the service that asks on its behalf lives on."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        assert (await tree_of(root).open(name, CLIENT)).size >= 0


def test_normalise_keeps_what_is_plain() -> None:
    """A plain path is itself."""
    assert normalise("pxelinux.cfg/01-52-54-00-77-00-01") == "pxelinux.cfg/01-52-54-00-77-00-01"
