"""What an operator names, as files one after the other: bare ones, those of a folder, those inside an archive."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.deployment.bytestream import ByteStream
from appliance.deployment.streams import MAGIC_LENGTH, UNPACKERS, ArchiveError, Packed, read_chunks, unpack
from appliance.errors import OperatorError
from appliance.importing.tar import BLOCK, is_tar, read_members
from storage.errors import StorageError
from storage.image import FileImage, Image
from storage.iso9660 import IsoError

FOLDER_MOST = 1000  # files of a folder that are looked at: KIWI's target folders have some dozen
NAME_MOST = 240  # bytes: a file system's limit, less what is put before and behind it
MEDIA_SUFFIXES = (".iso", ".tar", ".tar.xz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tgz", ".txz")


@dataclass(frozen=True, slots=True)
class Piece:
    """A file by its plain name. `chunks` are its bytes, to be read before the next piece is asked for.

    A link inside an archive has no bytes but a `target`, the plain name of another piece.
    """

    name: str
    size: int
    chunks: Iterator[bytes]
    target: str | None = None


def read_pieces(paths: Iterable[Path]) -> Iterator[Piece]:
    """Every file of what `paths` name, archives unpacked, folders gone through but not those inside them.

    Raises: OperatorError naming file and remedy.
    """
    seen: set[str] = set()
    for path in _expanded(paths):
        with said_of(path):
            for piece in _pieces_of(path):
                if piece.name in seen:
                    raise ArchiveError(f"gives {piece.name} once more")
                seen.add(piece.name)
                yield piece


def _expanded(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from _of_folder(path) if path.is_dir() else [path]


def _of_folder(folder: Path) -> list[Path]:
    """Its files; of a folder where KIWI left archive or medium beside what went into it, that alone."""
    with said_of(folder):
        files = sorted(path for path in folder.iterdir() if path.is_file())[: FOLDER_MOST + 1]
    if not files or len(files) > FOLDER_MOST:
        raise OperatorError(f"{folder} holds {'too many' if files else 'no'} files", "name those to be imported")
    media = [path for path in files if path.name.endswith(MEDIA_SUFFIXES)]
    if len(media) > 1:
        raise OperatorError(f"{folder} holds {len(media)} archives and media", f"name one, such as {media[0]}")
    return media or files


@contextmanager
def said_of(path: Path | str) -> Iterator[None]:
    """What is wrong with a file, as something that its operator can mend."""
    try:
        yield
    except (ArchiveError, StorageError) as failure:
        what = str(failure) if isinstance(failure, ArchiveError | IsoError) else f"can't be read: {failure}"
        raise OperatorError(f"{path} {what}", "fetch it anew, or build it again") from failure
    except OSError as failure:
        raise OperatorError(f"{path}: {failure.strerror}", "name a file or folder that can be read") from failure


def told(chunks: Iterator[bytes], path: Path | str) -> Iterator[bytes]:
    """The same chunks, of a file that is called so where something is wrong with it."""
    with said_of(path):
        yield from chunks


def _pieces_of(path: Path) -> Iterator[Piece]:
    image = FileImage(path)
    is_packed = image.read_at(0, min(MAGIC_LENGTH, image.size)).startswith(tuple(magic for magic, _ in UNPACKERS))
    if is_tar(_head(read_chunks(image))):
        yield from _members(told(read_chunks(image), path), path)
    elif is_packed and is_tar(_head(Packed(image).chunks())):
        yield from _members(told(unpack(image), path), path)
    else:
        yield Piece(plain_name(path.name), image.size, told(read_chunks(image), path))


def _head(chunks: Iterator[bytes]) -> bytes:
    """The first block of a file, or what there is of it."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= BLOCK:
            break
    return head


def _members(chunks: Iterator[bytes], archive: Path) -> Iterator[Piece]:
    stream = ByteStream(chunks, lambda count: None)  # each file's size is checked where there is to be room for it
    for member in read_members(stream):
        target = None if member.target is None else plain_name(member.target)
        yield Piece(plain_name(member.name), member.size, told(stream.pieces(member.size), archive), target)


def plain_name(path: str) -> str:
    """The last part of a relative path. Raises: ArchiveError for one that leads elsewhere, or is fit for no file."""
    parts = [part for part in path.split("/") if part != "."]
    if path.startswith("/") or ".." in parts or "" in parts or not parts:
        raise ArchiveError(f"holds {path!r}, which leads out of it")
    name = parts[-1]
    if not name.isprintable() or name.startswith(".") or len(name.encode()) > NAME_MOST or "\ufffd" in name:
        raise ArchiveError(f"holds {name!r}, which is no name for a file")
    return name


def head_of(image: Image, length: int) -> bytes:
    """The first bytes of a file as they are. Raises: StorageError."""
    return image.read_at(0, min(length, image.size))


def unpacked_head(image: Image, length: int) -> bytes | None:
    """The first bytes that a compressed file unpacks to, up to `length`; None when it is none, or damaged there."""
    head = b""
    try:
        for chunk in Packed(image).chunks():
            head += chunk
            if len(head) >= length:
                break
    except ArchiveError:
        return None
    return head[:length]
