"""Traps of machines with disks: partitions, RAID, and what wipes them."""

import re
from collections.abc import Iterator

from appliance.kiwi.finding import Complaint, error, warning
from appliance.kiwi.site import Document, Site

_NUMBERED = {"S": "82", "L": "83", "V": "8e"}
_UNIT = re.compile(r"[0-9]+[MG]")


def letters_for_partition_types(document: Document, site: Site) -> Iterator[Complaint]:
    """The client compares the text with the number that it finds on the disk."""
    for fields in document.entries("PART"):
        if len(fields) > 1 and fields[1] in _NUMBERED:
            effect = f"type {fields[1]} never matches: the disk is wiped and filled anew at every network boot"
            yield warning(document.line_of("PART"), effect, f"published as {_NUMBERED[fields[1]]}")


def upper_case_x(document: Document, site: Site) -> Iterator[Complaint]:
    """Documentation of kiwi 9 writes X for the rest of the disk, and for no mount point."""
    for fields in document.entries("PART"):
        if "X" in fields:
            yield error(document.line_of("PART"), f"X in {';'.join(fields)} is no size and no mount point", "write x")


def size_with_unit(document: Document, site: Site) -> Iterator[Complaint]:
    """Sizes with a unit are understood when the disk is partitioned, and not when it is looked at again."""
    for fields in document.entries("PART"):
        if _UNIT.fullmatch(fields[0]):
            effect = f"{fields[0]} never matches: the disk is wiped and filled anew at every network boot"
            yield warning(document.line_of("PART"), effect, "published as a number of megabytes")


def raid_without_disk(document: Document, site: Site) -> Iterator[Complaint]:
    """The client then waits for an array that nobody has made."""
    if (line := document.line_of("RAID")) and not document.line_of("DISK"):
        yield error(line, "the client waits for /dev/md1, which does not exist yet, and reboots", "set DISK too")


def raid_image_elsewhere(document: Document, site: Site) -> Iterator[Complaint]:
    """All partitions become arrays."""
    for fields in document.entries("IMAGE") if document.line_of("RAID") else ():
        if not fields[0].startswith("/dev/md"):
            effect = f"{fields[0]} is half of a mirror, which the image overwrites"
            yield error(document.line_of("IMAGE"), effect, "name the array: /dev/md0 is the first of PART")


def disk_without_partitions(document: Document, site: Site) -> Iterator[Complaint]:
    """DISK alone makes no partition to put an image on."""
    if (line := document.line_of("DISK")) and not document.line_of("PART"):
        yield warning(line, "there is no table to put on the disk: an empty one stays empty", "set PART")


def overlay_off_its_partitions(document: Document, site: Site) -> Iterator[Complaint]:
    """The local boot of an overlay is written for partitions 2 and 3, whatever was configured."""
    overlay = document.values.get("UNIONFS_CONFIG", "").split(",")
    if document.line_of("DISK") and len(overlay) > 1 and overlay[1].startswith("/dev/"):
        rw, ro = overlay[0], overlay[1]
        if not ro.endswith("2") or not (rw == "tmpfs" or rw.endswith("3")):
            effect = "a local boot takes partition 2 as read-only and 3 as writable, whatever is said here"
            yield warning(document.line_of("UNIONFS_CONFIG"), effect, "put the image on 2 and leave 3 for writing")


TRAPS = (
    letters_for_partition_types,
    upper_case_x,
    size_with_unit,
    raid_without_disk,
    raid_image_elsewhere,
    disk_without_partitions,
    overlay_off_its_partitions,
)
