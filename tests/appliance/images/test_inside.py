"""Files inside images, by name: image/NAME/-/PATH, and whatever else a client may spell there."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config import Config
from appliance.images.catalog import Catalog
from appliance.names import split_inside
from appliance.plan import Plans
from appliance.tree import Tree
from storage.errors import StorageError
from storage.squashfs import SquashfsError
from tests.storage.squashfs.trees import make_image

CLIENT = "10.77.0.51"
KERNEL = bytes(range(256)) * 1173  # it compresses, and is no whole number of blocks
ODD = {"back\\slash": b"1", "two  blanks": b"2", "größe": b"3", "-": b"4", "a%41": b"5"}


@pytest.fixture(scope="session")
def image(tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a kernel, links that lead all over, and odd names."""
    root = tmp_path_factory.mktemp("inside") / "root"
    for folder in ("boot", "odd", "-"):
        (root / folder).mkdir(parents=True)
    (root / "boot/vmlinuz-6.1").write_bytes(KERNEL)
    (root / "vmlinuz").symlink_to("boot/vmlinuz-6.1")
    (root / "outside").symlink_to("../../../../etc/passwd")
    (root / "loop").symlink_to("loop")
    (root / "-/file").write_bytes(b"below a dash")
    os.mkfifo(root / "pipe")
    for name, content in ODD.items():
        (root / "odd" / name).write_bytes(content)
    return make_image(tool, root, root.parent / "image", "-b", "65536")


@pytest.fixture
def tree(tmp_path: Path, image: Path) -> Tree:
    """A boot tree that holds the image, and one of another format."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/root").hardlink_to(image)
    (tmp_path / "image/ext").write_bytes(bytes(1080) + b"\x53\xef" + bytes(4096))
    return tree_of(tmp_path)


def tree_of(root: Path) -> Tree:
    """A tree of what is there."""
    catalog = Catalog(root / "image")
    catalog.load()
    plans = Plans(Config(), catalog, server="10.77.0.2")
    return Tree(root, catalog=catalog, plans=plans, server="10.77.0.2", find_loader=lambda name: None)


async def read(tree: Tree, name: str) -> bytes:
    """What a client reads under `name`."""
    found = await tree.open(name, CLIENT)
    return found.read_at(0, found.size)


@pytest.mark.parametrize(
    "name",
    [
        "image/root/-/boot/vmlinuz-6.1",
        "/image//root/-//boot//vmlinuz-6.1",
        "\\image\\root\\-\\boot\\vmlinuz-6.1",
        "./image/./root/-/./boot/vmlinuz-6.1",
        "image/root/-/boot/../vmlinuz",
        "image/root/-/../../vmlinuz",
        "image/root-0/-/vmlinuz",
    ],
)
async def test_a_file_is_found_however_clients_spell_it(tree: Tree, name: str) -> None:
    """By any path or link inside the image; what climbs above its root stays there."""
    assert await read(tree, name) == KERNEL


@pytest.mark.parametrize(("name", "content"), ODD.items())
async def test_odd_names_are_names(tree: Tree, name: str, content: bytes) -> None:
    """A backslash may belong to one."""
    assert await read(tree, f"image/root/-/odd/{name}") == content


async def test_the_first_dash_ends_the_images_name(tree: Tree) -> None:
    """A folder inside may be called so too."""
    assert await read(tree, "image/root/-/-/file") == b"below a dash"


@pytest.mark.parametrize("path", ["", "boot", "none", "vmlinuz/x", "outside", "loop", "pipe", "x" * 300, "a\0b"])
async def test_what_is_no_file_is_not_found(tree: Tree, path: str) -> None:
    """Folders, devices and links that lead nowhere in the image, though there is such a file on this machine."""
    with pytest.raises(FileNotFoundError):
        await tree.open(f"image/root/-/{path}", CLIENT)


@pytest.mark.parametrize("name", ["image/none/-/vmlinuz", "image/ext/-/vmlinuz", "root/-/vmlinuz", "image/-/vmlinuz"])
async def test_only_a_squashfs_has_files(tree: Tree, name: str) -> None:
    """No image of the name, one of another format, none named at all."""
    with pytest.raises(FileNotFoundError):
        await tree.open(name, CLIENT)


@pytest.fixture
def torn(tmp_path: Path, image: Path) -> Tree:
    """A boot tree that holds the image with its first block overwritten."""
    whole = image.read_bytes()
    (tmp_path / "image").mkdir()
    (tmp_path / "image/torn").write_bytes(whole[:96] + b"\xff" * 64 + whole[160:])
    return tree_of(tmp_path)


async def test_a_damaged_image_is_an_error_of_its_own(torn: Tree) -> None:
    """Not a file that is missing: somebody has to look at the image."""
    with pytest.raises(SquashfsError):
        await read(torn, "image/torn/-/vmlinuz")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40) | st.sampled_from(["\ud800", "..", "\\", "-", "boot", "/"]))
async def test_no_path_brings_anything_but_a_file_or_a_refusal(tree: Tree, path: str) -> None:
    """Whatever a stranger asks for."""
    with contextlib.suppress(FileNotFoundError, PermissionError, StorageError):
        assert (await tree.open(f"image/root/-/{path}", CLIENT)).size >= 0


def test_a_name_without_the_mark_has_no_inside() -> None:
    """A dash at the end is the tree's to refuse."""
    assert split_inside("image/root/-") is None
    assert split_inside("boot/linux") is None
