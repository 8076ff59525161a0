"""The catalogue: what is an image, what is not and why, and which address each gets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from appliance.errors import OperatorError
from appliance.images.catalog import Catalog, CatalogLimits
from appliance.images.changes import Changes
from tests.storage.squashfs.trees import make_image

SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
EXT = bytes(1080) + b"\x53\xef" + bytes(4096)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image/ folder with two images, a checksum, a compressed image and a hidden file."""
    (tmp_path / "b-1").write_bytes(SQUASHFS)
    (tmp_path / "a-1").write_bytes(EXT)
    (tmp_path / "a-1.md5").write_text("x")
    (tmp_path / "c-1.xz").write_bytes(b"\xfd7zXZ")
    (tmp_path / ".part").write_bytes(b"x")
    return tmp_path


def test_images_get_targets_in_name_order(folder: Path) -> None:
    """e0.1, e0.2, ...; checksums, compressed and hidden files are none."""
    catalog = Catalog(folder)
    catalog.load()
    assert [(e.name, e.target, e.format) for e in catalog] == [("a-1", "e0.1", "ext"), ("b-1", "e0.2", "squashfs")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello world\n", "no known file system"),
        (SQUASHFS[:2000], "is cut off: its squashfs superblock says 4096 bytes, the file has 2000"),
        (SQUASHFS[:50], "cut off inside its squashfs superblock"),
    ],
)
def test_a_file_that_is_no_image_is_named_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    """At start it is the operator's to mend."""
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(OperatorError, match=why):
        Catalog(tmp_path).load()


def test_a_name_that_clients_cannot_take_is_refused(tmp_path: Path) -> None:
    """A blank would end the name in the client's shell."""
    (tmp_path / "my image").write_bytes(SQUASHFS)
    with pytest.raises(OperatorError, match="rename it"):
        Catalog(tmp_path).load()


def test_raw_images_are_taken_as_they_are(tmp_path: Path) -> None:
    """[boot] raw_images names blank disks."""
    (tmp_path / "blank").write_bytes(bytes(4096))
    catalog = Catalog(tmp_path, raw=["blank"])
    catalog.load()
    assert [e.format for e in catalog] == ["raw"]


def test_a_file_dropped_in_later_is_served_once_it_is_whole(folder: Path) -> None:
    """Half a copy is complained of once; when it is complete it gets the next address."""
    catalog = Catalog(folder)
    catalog.load()
    (folder / "aa-0").write_bytes(SQUASHFS[:1000])
    assert list(catalog.refresh()[1]) == ["aa-0"]
    assert catalog.refresh() == ([], {})
    (folder / "aa-0").write_bytes(SQUASHFS)
    assert [e.target for e in catalog.refresh()[0]] == ["e0.3"]


def test_a_replaced_image_keeps_its_bytes_for_those_who_run_from_it(folder: Path) -> None:
    """Renaming a new file over a served one does not change what the open image reads."""
    catalog = Catalog(folder)
    catalog.load()
    (folder / "new").write_bytes(EXT.replace(b"\0", b"\1"))
    (folder / "new").rename(folder / "a-1")
    catalog.refresh()
    entry = catalog.get("a-1")
    assert entry is not None
    assert entry.image.read_at(0, 4) == bytes(4)


def look(catalog: Catalog) -> None:
    """As the appliance does every few seconds."""
    catalog.follow(Changes().look(catalog))


def test_an_image_written_in_place_is_opened_anew(folder: Path) -> None:
    """At its address, with its new size and a new version; who had it open keeps what he had, as far as it is there."""
    catalog = Catalog(folder)
    catalog.load()
    old = catalog.get("a-1")
    with (folder / "a-1").open("ab") as file:
        file.write(b"more")
    look(catalog)
    new = catalog.get("a-1")
    assert old is not None
    assert new is not None
    assert (new.image.size, new.target) == (old.image.size + 4, old.target)
    assert new.image.version != old.image.version
    assert old.image.size == len(EXT)
    assert [entry.name for entry in catalog] == ["a-1", "b-1"]
    look(catalog)
    assert catalog.get("a-1") is new


def test_an_image_that_is_half_written_stays_as_it_was(folder: Path) -> None:
    """It is opened again once it is an image again."""
    catalog = Catalog(folder)
    catalog.load()
    before = catalog.get("b-1")
    (folder / "b-1").write_bytes(SQUASHFS[:1000])
    look(catalog)
    assert catalog.get("b-1") is before
    (folder / "b-1").write_bytes(SQUASHFS + bytes(4096))
    look(catalog)
    after = catalog.get("b-1")
    assert after is not None
    assert after.image.size == len(SQUASHFS) + 4096


def test_another_file_of_that_name_is_not_taken_for_it(folder: Path) -> None:
    """The one that is served was written to, and then another was put in its place."""
    catalog = Catalog(folder)
    catalog.load()
    before = catalog.get("a-1")
    with (folder / "a-1").open("ab") as file:
        file.write(b"more")
    (folder / "new").write_bytes(EXT)
    (folder / "new").rename(folder / "a-1")
    look(catalog)
    assert catalog.get("a-1") is before


def test_slots_go_on_to_the_next_shelf(tmp_path: Path) -> None:
    """Slot 255 is the broadcast: the image after e0.254 is e1.0."""
    for number in range(255):
        (tmp_path / f"i{number:03}-1").write_bytes(SQUASHFS)
    catalog = Catalog(tmp_path)
    catalog.load()
    assert [e.target for e in catalog][253:] == ["e0.254", "e1.0"]


def test_the_number_of_images_is_bounded(folder: Path) -> None:
    """The limit is named in the message, since it can be set."""
    with pytest.raises(OperatorError, match=r"limits\.catalog\.max_images = 1"):
        Catalog(folder, limits=CatalogLimits(max_images=1)).load()


def test_an_absent_folder_holds_no_images(tmp_path: Path) -> None:
    """A tree with only a kernel is a tree."""
    catalog = Catalog(tmp_path / "image")
    catalog.load()
    assert len(catalog) == 0


def test_rule_files_are_no_images(folder: Path) -> None:
    """NAME.toml says how NAME boots."""
    (folder / "b-1.toml").write_text('kernel = "x"\n')
    catalog = Catalog(folder)
    catalog.load()
    assert len(catalog) == 2


def test_a_squashfs_that_holds_nothing_readable_is_complained_of_once(folder: Path) -> None:
    """It may be a fine block device for a kernel that knows more: it is served all the same."""
    catalog = Catalog(folder)
    catalog.load()
    entry = catalog.get("b-1")
    assert entry is not None
    with structlog.testing.capture_logs() as logged:
        assert entry.files is None
        assert entry.files is None
    assert [(line["event"], line["image"]) for line in logged] == [("image_unreadable", "b-1")]


def test_the_files_of_an_image_are_opened_once(tmp_path: Path, tool: Callable[[str], str]) -> None:
    """By however many at the same time; other formats have none."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/hello").write_text("hello")
    (tmp_path / "image").mkdir()
    make_image(tool, tmp_path / "tree", tmp_path / "image/root")
    (tmp_path / "image/ext").write_bytes(EXT)
    catalog = Catalog(tmp_path / "image")
    catalog.load()
    entries = {entry.name: entry for entry in catalog}
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(lambda _: entries["root"].files, range(8)))
    assert {id(files) for files in opened} == {id(opened[0])}
    assert opened[0] is not None
    assert [entry.name for entry in opened[0].listdir("/")] == [b"hello"]
    assert entries["ext"].files is None
