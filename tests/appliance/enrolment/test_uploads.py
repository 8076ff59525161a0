"""appliance.enrolment.uploads: strangers may add small files to upload/, and do nothing else."""

import asyncio
import errno
import gc
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.enrolment.uploads import OWNERS, STALE, UploadLimits, Uploads
from storage.errors import StorageError

DESK, SHOP = "10.11.0.57", "10.11.0.58"
MAC = "52:54:00:A1:B2:C3"


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """A policy over an empty tree."""
    return Uploads(tmp_path)


async def put(uploads: Uploads, name: str, client: str = DESK, content: bytes = b"NCNAME=x\n") -> Path:
    """Send a whole file; returns where it went."""
    with await uploads.open_write(name, client, len(content)) as upload:
        upload.write(content)
        upload.commit()
    return upload.path


def shown(root: Path) -> list[str]:
    """The uploads that are there."""
    return sorted(p.name for p in (root / "upload").iterdir() if not p.name.startswith("."))


def is_empty(folder: Path) -> bool:
    """Whether nothing is there, hidden or not."""
    return not any(folder.iterdir())


@pytest.mark.parametrize(
    "spelling",
    [MAC, MAC.lower(), "52-54-00-a1-b2-c3", "52.54.00.A1.B2.C3", "525400a1b2c3", "5254.00a1.b2c3"],
)
async def test_any_spelling_of_a_mac_is_one_machine(uploads: Uploads, tmp_path: Path, spelling: str) -> None:
    """The file is named as KIWI writes it, whatever the client wrote."""
    await put(uploads, f"upload/client.{spelling}")
    assert shown(tmp_path) == [f"client.{MAC}"]


@pytest.mark.parametrize("kind", ["client", "hwtype", "hwinfo"])
@pytest.mark.parametrize("digest", ["", ".0123abcdef"])
async def test_kiwi_names(uploads: Uploads, tmp_path: Path, kind: str, digest: str) -> None:
    """All that KIWI's generations send, with and without a hash behind it."""
    await put(uploads, f"upload/{kind}.{MAC}{digest}")
    assert shown(tmp_path) == [f"{kind}.{MAC}{digest}"]


@pytest.mark.parametrize("name", ["upload/report.txt", "/upload/report.txt", "//upload//report.txt"])
async def test_other_plain_names(uploads: Uploads, tmp_path: Path, name: str) -> None:
    """Any plain name will do, however the path to the folder is written."""
    await put(uploads, name)
    assert shown(tmp_path) == ["report.txt"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "upload",
        "upload/",
        "client.52:54:00:A1:B2:C3",
        "boot/linux",
        "image/x",
        "Upload/x",
        "upload/a/b",
        "upload/../boot/linux",
        "upload/..",
        "upload/.hidden",
        "upload/.owners",
        "upload\\x",
        "upload/a b",
        "upload/ä",
        "upload/a\nb",
        "upload/a\x00",
        "upload/$(reboot)",
        "upload/" + "x" * 129,
    ],
)
async def test_every_other_name_is_refused(uploads: Uploads, tmp_path: Path, name: str) -> None:
    """Outside upload/, hidden, nested, or not plain: PermissionError, and not even the folder is made."""
    with pytest.raises(PermissionError):
        await uploads.open_write(name, DESK, 1)
    assert is_empty(tmp_path)


@pytest.mark.parametrize(
    ("name", "limit"),
    [(f"client.{MAC}", 64 << 10), (f"hwtype.{MAC}", 64 << 10), (f"hwinfo.{MAC}", 4 << 20), ("other", 1 << 20)],
)
async def test_size_limits_by_kind(uploads: Uploads, name: str, limit: int) -> None:
    """The announced size is checked at the door, the true one while receiving."""
    (await uploads.open_write(f"upload/{name}", DESK, limit)).abort()
    with pytest.raises(StorageError) as announced:
        await uploads.open_write(f"upload/{name}", DESK, limit + 1)
    with await uploads.open_write(f"upload/{name}", DESK, None) as upload, pytest.raises(StorageError) as received:
        upload.write(bytes(limit + 1))
    assert announced.value.errno == received.value.errno == errno.EFBIG


async def test_the_sender_may_replace_its_own(uploads: Uploads, tmp_path: Path) -> None:
    """A machine that registers again replaces what it sent."""
    await put(uploads, f"upload/client.{MAC}", DESK, b"first")
    path = await put(uploads, f"upload/client.{MAC}", DESK, b"second")
    assert path.read_bytes() == b"second"


async def test_nobody_else_may(uploads: Uploads) -> None:
    """Another address gets FileExistsError, and the file stays."""
    path = await put(uploads, f"upload/client.{MAC}", DESK, b"first")
    with pytest.raises(FileExistsError):
        await uploads.open_write(f"upload/client.{MAC.lower()}", SHOP, 1)
    assert path.read_bytes() == b"first"


async def test_owners_outlive_a_restart(uploads: Uploads, tmp_path: Path) -> None:
    """A new process knows who sent what."""
    await put(uploads, "upload/report", DESK)
    again = Uploads(tmp_path)
    with pytest.raises(FileExistsError):
        await again.open_write("upload/report", SHOP, 1)
    await put(again, "upload/report", DESK)


async def test_a_file_of_the_operator_is_nobodys(uploads: Uploads, tmp_path: Path) -> None:
    """What lies there without an owner is not overwritten."""
    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "notes").write_text("mine")
    with pytest.raises(FileExistsError):
        await uploads.open_write("upload/notes", DESK, 1)


@pytest.mark.parametrize("broken", [b"{", b"[1]", b"\xff"])
async def test_a_broken_list_of_owners_opens_nothing(uploads: Uploads, tmp_path: Path, broken: bytes) -> None:
    """Then nobody owns what is there, and new files work."""
    await put(uploads, "upload/report", DESK)
    (tmp_path / "upload" / OWNERS).write_bytes(broken)
    with pytest.raises(FileExistsError):
        await uploads.open_write("upload/report", DESK, 1)
    await put(uploads, "upload/other", DESK)


async def test_two_clients_at_once_for_one_new_name(uploads: Uploads) -> None:
    """The first to begin has the name; once it gives up, the other may have it."""
    first = await uploads.open_write("upload/report", DESK, 1)
    with pytest.raises(FileExistsError):
        await uploads.open_write("upload/report", SHOP, 1)
    first.abort()
    await put(uploads, "upload/report", SHOP)


async def test_one_client_sending_twice_at_once(uploads: Uploads) -> None:
    """A client whose first try hangs starts over: the last to end stays."""
    first = await uploads.open_write("upload/report", DESK, 1)
    second = await uploads.open_write("upload/report", DESK, 1)
    second.write(b"2")
    second.commit()
    first.abort()
    assert second.path.read_bytes() == b"2"


async def test_the_number_of_files_is_bounded(tmp_path: Path) -> None:
    """ENOSPC for one too many; replacing one of the files still works."""
    uploads = Uploads(tmp_path, UploadLimits(files=2))
    await put(uploads, "upload/a")
    await put(uploads, "upload/b")
    with pytest.raises(StorageError) as full:
        await uploads.open_write("upload/c", DESK, 1)
    assert full.value.errno == errno.ENOSPC
    await put(uploads, "upload/b")


async def test_the_bytes_are_bounded_with_those_to_come(tmp_path: Path) -> None:
    """What is being received counts with all it may become, until it is given up."""
    uploads = Uploads(tmp_path, UploadLimits(other=100, total=250))
    await put(uploads, "upload/a", DESK, bytes(100))
    coming = await uploads.open_write("upload/b", DESK, 1)
    with pytest.raises(StorageError) as full:
        await uploads.open_write("upload/c", DESK, 1)
    assert full.value.errno == errno.ENOSPC
    coming.abort()
    await put(uploads, "upload/c", DESK)


async def test_a_forgotten_upload_gives_its_room_back(tmp_path: Path) -> None:
    """A transfer whose task died frees name and room when it is collected."""
    uploads = Uploads(tmp_path, UploadLimits(files=1))
    forgotten = await uploads.open_write("upload/a", DESK, 1)
    del forgotten
    gc.collect()
    await put(uploads, "upload/b", SHOP)
    assert shown(tmp_path) == ["b"]


async def test_a_linked_folder_is_refused(uploads: Uploads, tmp_path: Path) -> None:
    """upload -> somewhere else is not written through."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "upload").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        await uploads.open_write("upload/x", DESK, 1)
    assert is_empty(tmp_path / "elsewhere")


async def test_what_the_kernel_refuses_keeps_its_errno(tmp_path: Path) -> None:
    """A root that is gone is StorageError, not a traceback."""
    with pytest.raises(StorageError) as failed:
        await Uploads(tmp_path / "gone").open_write("upload/x", DESK, 1)
    assert failed.value.errno == errno.ENOENT


async def test_leftovers_of_a_crash_are_removed(uploads: Uploads, tmp_path: Path) -> None:
    """An old temporary file goes, a young one may be a transfer's and stays."""
    await put(uploads, "upload/x")
    folder = tmp_path / "upload"
    for name in (".old.part", ".young.part"):
        (folder / name).write_bytes(b"half")
    long_ago = (folder / ".old.part").stat().st_mtime - STALE - 1
    os.utime(folder / ".old.part", (long_ago, long_ago))
    await put(uploads, "upload/y")
    assert {p.name for p in folder.iterdir()} == {OWNERS, "x", "y", ".young.part"}


async def test_a_transfer_that_ends_while_the_folder_is_read(
    uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its temporary file is gone between name and size: none of our business."""
    await put(uploads, "upload/x")
    (tmp_path / "upload" / ".y.part").write_bytes(b"half")
    scan = os.scandir

    def scan_then_end(folder: Path) -> object:
        with scan(folder) as entries:
            listed = list(entries)
        (folder / ".y.part").unlink(missing_ok=True)
        return nullcontext(listed)

    monkeypatch.setattr(os, "scandir", scan_then_end)
    await put(uploads, "upload/z")
    assert shown(tmp_path) == ["x", "z"]


async def test_a_full_folder_is_said_once(tmp_path: Path) -> None:
    """One warning for a storm that finds no room."""
    uploads = Uploads(tmp_path, UploadLimits(files=1))
    await put(uploads, "upload/a")
    with capture_logs() as lines:
        for name in ("upload/b", "upload/c"):
            with pytest.raises(StorageError):
                await uploads.open_write(name, DESK, 1)
    assert [line["event"] for line in lines] == ["upload_folder_filled"]


async def test_the_list_of_owners_forgets_with_the_files(uploads: Uploads, tmp_path: Path) -> None:
    """An operator removes a file: its owner goes too, and the name is free."""
    path = await put(uploads, "upload/report", DESK)
    path.unlink()
    await put(uploads, "upload/other", SHOP)
    assert b"report" not in (tmp_path / "upload" / OWNERS).read_bytes()
    await put(uploads, "upload/report", SHOP)


async def test_a_storm_of_registrations(uploads: Uploads, tmp_path: Path) -> None:
    """A classroom that registers at once: every file is there, every owner known."""
    await asyncio.gather(*(put(uploads, f"upload/client.52:54:00:00:00:{n:02X}", f"10.0.0.{n}") for n in range(40)))
    assert len(shown(tmp_path)) == 40
    with pytest.raises(FileExistsError):
        await uploads.open_write("upload/client.52:54:00:00:00:07", "10.0.0.8", 1)
