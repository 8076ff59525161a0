"""`rootwire import`: what KIWI builds, taken into a boot tree so that machines can boot it at once."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from typing_extensions import TypedDict

from appliance.config import Root
from appliance.deployment.beside import INITRD_SUFFIX, INSTALLER_PREFIX, PACKED_DISK_SUFFIX, SUFFIXES
from appliance.deployment.kinds import recognise as recognise_initrd
from appliance.deployment.rules import Rule, rule_file
from appliance.deployment.streams import ArchiveError
from appliance.deployment.survey import survey_medium
from appliance.errors import OperatorError
from appliance.images.catalog import CHECKSUM_SUFFIXES, SIGNATURES
from appliance.importing.kits import Kind, Kit, assemble
from appliance.importing.pieces import read_pieces
from appliance.importing.placing import Placed, Placer
from appliance.importing.progress import Bar
from appliance.importing.recognising import Found, recognise
from appliance.importing.staging import Staging, is_full
from storage.image import FileImage
from storage.iso9660 import Iso

IMAGES = "image"


class ImportReport(TypedDict):
    """What `rootwire import --json` prints; sizes in bytes."""

    name: str
    kind: str  # "root image", "installation", "live or installation medium"
    files: dict[str, int]  # by their paths in the boot tree
    left_out: list[str]  # files that nothing is made of
    verified: bool  # whether a checksum came with it
    boots: dict[str, str]  # how machines can reach it: by which kind of initrd, by root
    problem: str | None  # why no machine can, where its own initrd can't


def import_files(
    paths: Sequence[Path], root: Path, out: TextIO, *, name: str | None, over: Root | None, force: bool, as_json: bool
) -> None:
    """Take the set that `paths` are or hold into the boot tree at `root`, whole or not at all.

    `over` is how machines are to reach a root image. Raises: OperatorError when it can't be, saying why.
    """
    folder = _images_folder(root)
    try:
        with Bar() as bar:
            staging = Staging(folder, bar.advance)
            with staging.held():
                found, links = _stage(paths, staging, bar)
                kit = assemble(found, links, name)
                if over is not None and kit.kind is not Kind.ROOT:
                    raise OperatorError(f"--root-over is of root images, and {kit.name} is none", "leave it out")
                _require_free(folder, kit, over, force=force)
                files = Placer(staging, bar).place(kit, over)
                staging.publish(files)
                _remove_stale(folder, kit, files)
    except OSError as failure:
        reason = "has no room for it" if is_full(failure) else f"can't be written to: {failure.strerror}"
        raise OperatorError(f"{folder} {reason}", "make room there, or name another tree with --root") from failure
    report = _report(folder, kit, files, [one.name for one in found if one.name not in kit.used])
    out.write(f"{json.dumps(report, indent=2)}\n" if as_json else _describe(report))


def _images_folder(root: Path) -> Path:
    if not root.is_dir():
        raise OperatorError(f"{root} is no folder", "name the boot tree with --root DIR")
    folder = root / IMAGES
    try:
        folder.mkdir(exist_ok=True)
    except OSError as failure:
        raise OperatorError(f"{folder}: {failure.strerror}", "name a boot tree that can be written to") from failure
    return folder.resolve()


def _stage(paths: Iterable[Path], staging: Staging, bar: Bar) -> tuple[list[Found], dict[str, str]]:
    """Every file of what was named, and the other names that archives have for some of them."""
    found: list[Found] = []
    links: dict[str, str] = {}
    for piece in read_pieces(paths):
        if piece.target is not None:
            links[piece.name] = piece.target
            continue
        bar.step(piece.name, piece.size)
        found.append(recognise(staging.add(piece.name, piece.chunks, piece.size)))
    return found, links


def _require_free(folder: Path, kit: Kit, over: Root | None, *, force: bool) -> None:
    """Refuse a name that is taken. Files of an image that is not there are what a killed import left."""
    names = [kit.name, f"{kit.name}{PACKED_DISK_SUFFIX}", *([rule_file(Path(), kit.name).name] if over else [])]
    taken = next((name for name in names if (folder / name).exists()), None)
    if taken is not None and not force:
        raise OperatorError(
            f"{folder / taken} is there already", "replace it with --force, or give the new one another --name"
        )


def _remove_stale(folder: Path, kit: Kit, files: Placed) -> None:
    """What a set had before under names that this one has no file for: a kernel's words, an old checksum.

    A rule file is the operator's, and stays.
    """
    names = {name for _, name in files}
    belonging = [f"{kit.name}{suffix}" for suffix in (*SUFFIXES, *CHECKSUM_SUFFIXES)]
    for name in (*belonging, f"{INSTALLER_PREFIX}{kit.name}{INITRD_SUFFIX}"):
        if name not in names:
            (folder / name).unlink(missing_ok=True)


def _report(folder: Path, kit: Kit, files: Placed, left_out: list[str]) -> ImportReport:
    ways, problem = _ways(folder, kit)
    return {
        "name": kit.name,
        "kind": str(kit.kind),
        "files": {f"{IMAGES}/{name}": staged.size for staged, name in files},
        "left_out": left_out,
        "verified": bool(kit.sums),
        "boots": ways,
        "problem": problem or None,
    }


def _ways(folder: Path, kit: Kit) -> tuple[dict[str, str], str]:
    """How machines can reach a medium, or what has its initrd beside it; and why they can't."""
    if kit.kind is Kind.MEDIUM:
        medium = survey_medium(Iso(FileImage(folder / kit.name)), Rule())
        return {over: str(kind) for over, kind in medium.ways.items()}, medium.problem
    initrd = folder / f"{kit.name}{INITRD_SUFFIX}"
    if kit.kind is Kind.INSTALL or not initrd.exists():
        return {}, ""
    root = next((name for name, offset, magic in SIGNATURES if _has(folder / kit.name, offset, magic)), "")
    try:
        ways = recognise_initrd(FileImage(initrd), root).ways
    except ArchiveError as failure:
        return {}, f"its initrd {failure}"
    return {
        over: str(kind) for over, kind in ways.items()
    }, "" if ways else "its initrd can't mount it over the network"


def _has(path: Path, offset: int, magic: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(len(magic)) == magic


def _describe(report: ImportReport) -> str:
    lines = [f"{path}  {size} bytes" for path, size in report["files"].items()]
    lines += [f"left out: {name}" for name in report["left_out"]]
    sums = "as its checksum says" if report["verified"] else "which came without a checksum"
    lines.append(f"imported {report['name']}, {report['kind']}, {sums}")
    return "\n".join([*lines, _describe_boot(report)]) + "\n"


def _describe_boot(report: ImportReport) -> str:
    name, ways = report["name"], [f"{over} ({kind})" for over, kind in report["boots"].items()]
    if report["kind"] == Kind.INSTALL:
        return f"it is in every machine's menu; install = \"{name}\" in a machine's table has that machine install it"
    if ways and report["kind"] == Kind.MEDIUM:
        return f'it is in every machine\'s menu, over {", ".join(ways)}; image = "{name}" has machines boot it'
    if ways:
        return f"machines boot it over {', '.join(ways)}"
    if report["problem"]:
        return f"machines can't boot it of itself: {report['problem']}"
    return "it came without kernel and initrd: it boots by what is in it, if it is a squashfs"
