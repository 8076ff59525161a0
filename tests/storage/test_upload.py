"""storage.upload: what is received appears whole or not at all."""

import errno
import gc
import os
import stat
from pathlib import Path

import pytest

from storage.errors import StorageError
from storage.upload import Upload

LIMIT = 100  # bytes


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(entry.name for entry in folder.iterdir())


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_commit_puts_the_file_in_place(tmp_path: Path) -> None:
    """What was written in pieces is there as a whole, and nothing else is."""
    upload = Upload(tmp_path / "client.x", limit=LIMIT)
    upload.write(b"NCNAME=")
    upload.write(memoryview(b"desk\n"))
    assert upload.commit() is False
    assert (tmp_path / "client.x").read_bytes() == b"NCNAME=desk\n"
    assert upload.size == 12
    assert names(tmp_path) == ["client.x"]


def test_nothing_under_the_name_before_commit(tmp_path: Path) -> None:
    """Until then only a hidden file exists."""
    upload = Upload(tmp_path / "client.x", limit=LIMIT)
    upload.write(b"half")
    (only,) = names(tmp_path)
    assert only.startswith(".client.x.")
    assert only.endswith(".part")
    upload.abort()


def test_commit_replaces_what_was_there(tmp_path: Path) -> None:
    """A second upload of a name takes the first one's place; permission to is the caller's question."""
    (tmp_path / "f").write_bytes(b"old")
    with Upload(tmp_path / "f", limit=LIMIT) as upload:
        upload.write(b"new")
        assert upload.commit() is True
    assert (tmp_path / "f").read_bytes() == b"new"


def test_an_empty_upload_is_a_file(tmp_path: Path) -> None:
    """Zero bytes are a file as well."""
    Upload(tmp_path / "f", limit=0).commit()
    assert (tmp_path / "f").read_bytes() == b""


def test_mode_lets_no_stranger_read(tmp_path: Path) -> None:
    """Mode 0640 (less the umask), never executable."""
    before = os.umask(0)
    try:
        Upload(tmp_path / "f", limit=LIMIT).commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_exactly_the_limit_fits(tmp_path: Path) -> None:
    """The limit itself is allowed."""
    upload = Upload(tmp_path / "f", limit=LIMIT)
    upload.write(bytes(LIMIT))
    upload.commit()
    assert (tmp_path / "f").stat().st_size == LIMIT


def test_past_the_limit_is_refused(tmp_path: Path) -> None:
    """EFBIG, and of the piece that went too far nothing is kept."""
    with Upload(tmp_path / "f", limit=LIMIT) as upload:
        upload.write(bytes(LIMIT - 1))
        with pytest.raises(StorageError) as refused:
            upload.write(b"ab")
        assert refused.value.errno == errno.EFBIG
        assert upload.size == LIMIT - 1


def test_abort_removes_all(tmp_path: Path) -> None:
    """Nothing is left, and a second abort does no harm."""
    upload = Upload(tmp_path / "f", limit=LIMIT)
    upload.write(b"x")
    upload.abort()
    upload.abort()
    assert names(tmp_path) == []
    assert not upload.is_open


def test_the_end_of_the_block_aborts(tmp_path: Path) -> None:
    """What the block did not commit is removed."""
    with Upload(tmp_path / "f", limit=LIMIT) as upload:
        upload.write(b"x")
    assert not upload.is_open
    assert names(tmp_path) == []


def test_a_forgotten_upload_is_removed(tmp_path: Path) -> None:
    """Garbage collection of an uncommitted one removes its temporary file."""
    upload = Upload(tmp_path / "f", limit=LIMIT)
    upload.write(b"x")
    del upload
    gc.collect()
    assert names(tmp_path) == []


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """Neither way of ending leaks a descriptor."""
    before = open_descriptors()
    for n in range(8):
        Upload(tmp_path / str(n), limit=LIMIT).commit()
        Upload(tmp_path / str(n), limit=LIMIT).abort()
    assert open_descriptors() == before


def test_after_the_end_nothing_more(tmp_path: Path) -> None:
    """Writing to or committing a finished upload is the caller's bug."""
    upload = Upload(tmp_path / "f", limit=LIMIT)
    upload.commit()
    with pytest.raises(ValueError, match="is over"):
        upload.write(b"x")
    with pytest.raises(ValueError, match="is over"):
        upload.commit()


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    """A folder that is a symbolic link leads out of the tree."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError):
        Upload(tmp_path / "link" / "f", limit=LIMIT)
    assert names(tmp_path / "real") == []


def test_a_linked_file_is_replaced_not_followed(tmp_path: Path) -> None:
    """Where the name is a symbolic link, the link goes and its target stays."""
    (tmp_path / "secret").write_bytes(b"keep")
    (tmp_path / "f").symlink_to(tmp_path / "secret")
    with Upload(tmp_path / "f", limit=LIMIT) as upload:
        upload.write(b"new")
        upload.commit()
    assert (tmp_path / "secret").read_bytes() == b"keep"
    assert not (tmp_path / "f").is_symlink()


def test_a_missing_folder_is_the_callers_error(tmp_path: Path) -> None:
    """The folder must exist: FileNotFoundError, untouched."""
    with pytest.raises(FileNotFoundError):
        Upload(tmp_path / "no" / "f", limit=LIMIT)


def test_a_name_that_cannot_be_made_leaks_nothing(tmp_path: Path) -> None:
    """When the temporary file can't be made the folder's descriptor is closed again."""
    before = open_descriptors()
    with pytest.raises(OSError):
        Upload(tmp_path / ("x" * 250), limit=LIMIT)
    assert open_descriptors() == before


def test_a_rename_that_fails_aborts(tmp_path: Path) -> None:
    """A folder of that name stands in the way: StorageError, and nothing is left."""
    (tmp_path / "f").mkdir()
    upload = Upload(tmp_path / "f", limit=LIMIT)
    with pytest.raises(StorageError) as refused:
        upload.commit()
    assert refused.value.errno == errno.EISDIR
    assert names(tmp_path) == ["f"]


def test_a_write_that_fails_carries_its_errno(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk reaches the protocol as StorageError with ENOSPC."""

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Upload(tmp_path / "f", limit=LIMIT) as upload:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StorageError) as failed:
            upload.write(b"x")
    assert failed.value.errno == errno.ENOSPC


def test_someone_removed_the_temporary_file(tmp_path: Path) -> None:
    """Then abort has nothing to do and says so by doing nothing."""
    upload = Upload(tmp_path / "f", limit=LIMIT)
    (only,) = names(tmp_path)
    (tmp_path / only).unlink()
    upload.abort()
    assert names(tmp_path) == []
