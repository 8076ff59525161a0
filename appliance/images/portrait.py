"""An image on one page, for `rootwire show`: how it is packed, what it holds, and how it boots by itself."""

import json
import os
import re
from pathlib import Path
from typing import BinaryIO

from rich.filesize import decimal
from typing_extensions import TypedDict

from appliance.deployment.rules import Rule, read_rule, rule_file
from appliance.deployment.survey import Deployment, look_into
from appliance.images.contents import describe_kind, describe_time, escape, opened
from storage.squashfs import Kind, Squashfs, Summary

OS_RELEASE = "/etc/os-release"
OS_RELEASE_MAX = 16 << 10  # bytes of it that are read; it has some hundred
MODULES = "/lib/modules"  # a folder for each kernel
BOOT = "/boot"

_PRETTY_NAME = re.compile(rb"^PRETTY_NAME=([\"']?)(.{1,200}?)\1\s*$", re.M)


class BootFileReport(TypedDict):
    """A file in /boot."""

    name: str
    size: int


class BootReport(TypedDict):
    """How the image boots when it is dropped into image/ alone; paths are inside the image."""

    kernel: str | None
    version: str | None
    initrd: str | None  # null: rootwire's own is made for the kernel
    roots: dict[str, str]  # what that initramfs can mount ("nbd", "aoe", "ram"), and by whom
    problem: str | None  # why it does not boot
    remarks: list[str]  # what was passed over, and why


class Portrait(TypedDict):
    """What `rootwire show --json` says; sizes in bytes, times in unix seconds."""

    image: str
    size: int  # of the file
    used: int  # of it by the file system; the rest is padding
    content: int  # of all files in it together, hard links once
    compressor: str
    options: dict[str, int]  # of the compressor, where they are not its defaults
    block_size: int
    fragments: int
    made: int
    inodes: int
    kinds: dict[str, int]  # names by kind, as `rootwire ls --json` calls them
    system: str | None  # its os-release's PRETTY_NAME
    kernels: list[str]  # versions that it has modules for
    boot: list[BootFileReport]
    boots: BootReport


def show_image(image: Path, out: BinaryIO, *, as_json: bool = False) -> None:
    """Write what there is to say of the image. Raises: OperatorError."""
    with opened(image) as files:
        report = portray(image, files)
    text = json.dumps(report) if as_json else "\n".join(_lines(report))
    out.write(text.encode(errors="backslashreplace") + b"\n")


def portray(image: Path, files: Squashfs) -> Portrait:
    """All of it; goes through every name in the image, and unpacks initramfs archives.

    Raises: SquashfsError, StorageError; OperatorError for a rule file beside the image that is none.
    """
    summary: Summary = files.summary
    kinds, content = _count(files)
    rules = rule_file(image.parent, image.name)
    return Portrait(
        image=str(image),
        size=files.image.size,
        used=summary.bytes_used,
        content=content,
        compressor=summary.compressor.name.lower(),
        options=dict(summary.options),
        block_size=summary.block_size,
        fragments=summary.fragments,
        made=summary.made,
        inodes=summary.inodes,
        kinds=kinds,
        system=_system(files),
        kernels=_names(files, MODULES, Kind.DIRECTORY),
        boot=_boot_files(files),
        boots=_report_boot(look_into(image, files, read_rule(rules) if rules.exists() else Rule()) or Deployment()),
    )


def _report_boot(found: Deployment) -> BootReport:
    return BootReport(
        kernel=found.kernel or None,
        version=escape(os.fsencode(found.version)) or None,
        initrd=found.initrd or None,
        roots={str(root): str(kind) for root, kind in found.ways.items()},
        problem=found.problem or None,
        remarks=[escape(os.fsencode(remark)) for remark in found.remarks],
    )


def _count(files: Squashfs) -> tuple[dict[str, int], int]:
    """Names by kind, and the bytes of all files."""
    kinds, content = dict.fromkeys(map(describe_kind, Kind), 0), 0
    seen: set[int] = set()  # of files with several names
    for _, entry in files.walk():
        kinds[describe_kind(entry.kind)] += 1
        if entry.kind is Kind.FILE and entry.reference not in seen:
            status = files.status(entry.reference)
            content += status.size
            if status.links > 1:
                seen.add(entry.reference)
    return kinds, content


def _system(files: Squashfs) -> str | None:
    try:
        file = files.open_file(OS_RELEASE)
    except OSError:  # an image need not be a system
        return None
    found = _PRETTY_NAME.search(file.read_at(0, min(file.size, OS_RELEASE_MAX)))
    return escape(found[2]) if found else None


def _names(files: Squashfs, folder: str, kind: Kind) -> list[str]:
    try:
        return [escape(entry.name) for entry in files.scan(folder) if entry.kind is kind]
    except OSError:  # there is no such folder
        return []


def _boot_files(files: Squashfs) -> list[BootFileReport]:
    try:
        entries = [entry for entry in files.scan(BOOT) if entry.kind is Kind.FILE]
    except OSError:
        return []
    return [BootFileReport(name=escape(e.name), size=files.status(e.reference).size) for e in entries]


def _lines(report: Portrait) -> list[str]:
    share = report["used"] / report["content"] if report["content"] else 1.0
    options = ", ".join(f"{name} {value}" for name, value in report["options"].items())
    packed = f"squashfs 4.0, {report['compressor']}{f' ({options})' if options else ''}"
    kinds = [_plural(number, kind) for kind, number in report["kinds"].items() if number]
    rows = [
        ("image", report["image"]),
        ("format", f"{packed}, blocks of {report['block_size'] >> 10} KiB, {report['fragments']:,} fragments"),
        ("made", f"{describe_time(report['made'])} UTC"),
        ("size", f"{decimal(report['used'])} for {decimal(report['content'])} of files ({share:.0%})"),
        ("holds", ", ".join(kinds) or "nothing"),
        ("system", report["system"] or "unknown: it has no /etc/os-release"),
        ("kernels", ", ".join(report["kernels"]) or f"none: nothing in {MODULES}"),
    ]
    rows += [(BOOT if n == 0 else "", f"{f['name']}  {decimal(f['size'])}") for n, f in enumerate(report["boot"])]
    rows += [("boots" if n == 0 else "", text) for n, text in enumerate(_boot_lines(report["boots"]))]
    return [f"{name:<9}{value}" for name, value in rows]


def _boot_lines(report: BootReport) -> list[str]:
    if report["problem"]:
        return [f"not by itself: {report['problem']}"]
    by_root = ", ".join(f"{root} by {kind}" for root, kind in report["roots"].items())
    how = f"with {report['initrd']}: {by_root}" if report["initrd"] else "with an initramfs of rootwire's own"
    return [f"{report['kernel']} {how}", *(f"passed over: {remark}" for remark in report["remarks"])]


def _plural(number: int, kind: str) -> str:
    if number == 1:
        return f"1 {kind}"
    return f"{number:,} {kind[:-1]}ies" if kind.endswith("y") else f"{number:,} {kind}s"
