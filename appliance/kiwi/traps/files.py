"""Traps of what a configuration names: files that are not there, and ones that don't fit."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from appliance.kiwi.entries import LARGEST_BLOCK, Image
from appliance.kiwi.finding import Complaint, error, warning
from appliance.kiwi.site import Document, Site
from appliance.kiwi.sums import LINE_MAX, parse_checksum_line

RAMDISK = 512_000 << 10  # bytes of a RAM disk unless the command line says ramdisk_size
TFTP_BLOCKS = 65535  # a client refuses to fetch an image in more


def _images(document: Document) -> Iterator[Image]:
    """The entries of IMAGE that can be read; the rest is another trap's."""
    for fields in document.entries("IMAGE"):
        try:
            yield Image.model_validate(";".join(fields))
        except ValidationError:
            continue


def image_missing(document: Document, site: Site) -> Iterator[Complaint]:
    """A client without its image, or without the checksum made from it, stops."""
    for image in _images(document):
        if site.find(image.fetched_path) is not None:
            continue
        others = [s for s in ("", ".gz", ".xz") if site.find(image.path + s) is not None]
        packed = {"": "", ".gz": "compressed", ".xz": "compressed-xz"}
        mend = f"say {packed[others[0]] or 'no compression'} as sixth field" if others else "put it there"
        effect = f"{image.fetched_path} is missing: the client reboots after 120 s"
        yield error(document.line_of("IMAGE"), effect, mend)


def image_path_in_name(document: Document, site: Site) -> Iterator[Complaint]:
    """One example of the documentation has the folder in the name."""
    for fields in document.entries("IMAGE"):
        if len(fields) > 1 and fields[1].startswith("image/"):
            effect = f"the client asks for image/{fields[1]}"
            yield error(document.line_of("IMAGE"), effect, "leave image/ out of the name")


def checksum_of_another_image(document: Document, site: Site) -> Iterator[Complaint]:
    """A pair of which one half was replaced makes clients loop, or install again."""
    for image in _images(document):
        for kind in ("md5", "sha256"):
            name, place = f"{image.path}.{kind}", site.find(f"{image.path}.{kind}")
            effect = None if place is None else _contradiction(place, site.find(image.path), kind, site)
            if effect is not None:
                yield error(document.line_of("IMAGE"), f"{name} {effect}", "remove it: it is made from the image")


def _contradiction(place: Path, plain: Path | None, kind: str, site: Site) -> str | None:
    """What a checksum file says that is not so; None: nothing. The sum itself is compared where it was made before."""
    with place.open("rb") as file:
        try:
            told = parse_checksum_line(file.read(LINE_MAX))
        except ValueError as refusal:
            return str(refusal)
    if plain is None:
        return None
    if told.size != plain.stat().st_size:
        return f"tells of {told.size} bytes: it never ends"
    sums = site.sums_of(plain)
    if sums is not None and told.digest != getattr(sums, kind):
        return "is not the checksum of that image: clients load it again and again"
    return None


def image_larger_than_ramdisk(document: Document, site: Site) -> Iterator[Complaint]:
    """The device has to be larger than the image."""
    for image in _images(document):
        plain = site.find(image.path)
        size = plain.stat().st_size if plain else 0
        if image.device.startswith("/dev/ram") and size >= RAMDISK:
            effect = f"{image.path} does not fit into a RAM disk of 500 MiB: the client stops"
            yield warning(document.line_of("IMAGE"), effect, f"add ramdisk_size={(size >> 10) + 1} to its command line")


def image_larger_than_tftp(document: Document, site: Site) -> Iterator[Complaint]:
    """Clients count blocks before they ask."""
    for image in _images(document):
        place = site.find(image.fetched_path)
        if place is not None and place.stat().st_size >= TFTP_BLOCKS * LARGEST_BLOCK:
            effect = f"{image.fetched_path} is more than TFTP's largest blocks can carry: fatal unless over HTTP"
            yield warning(document.line_of("IMAGE"), effect, "boot it with kiwiservertype=http")


def several_images(document: Document, site: Site) -> Iterator[Complaint]:
    """Documentation says the first, code the last one fetched."""
    if len(document.entries("IMAGE")) > 1:
        yield warning(document.line_of("IMAGE"), "the root is the last image fetched", "put the root's entry last")


def config_file_missing(document: Document, site: Site) -> Iterator[Complaint]:
    """There is no check: what could not be fetched is installed empty."""
    for key in ("CONF", "VENDOR_CONF"):
        for fields in document.entries(key):
            if fields[0] and site.find(fields[0]) is None:
                target = fields[1] if len(fields) > 1 else "the destination"
                effect = f"{fields[0]} is missing: the client installs an empty {target}"
                yield error(document.line_of(key), effect, "put the file there, or take the entry out")


def kernel_missing(document: Document, site: Site) -> Iterator[Complaint]:
    """They are fetched when the disk is filled."""
    for key in ("KIWI_KERNEL", "KIWI_INITRD"):
        if (path := document.values.get(key)) and site.find(path) is None:
            yield error(document.line_of(key), f"{path} is missing: the disk will not boot by itself", "put it there")


TRAPS = (
    image_missing,
    image_path_in_name,
    checksum_of_another_image,
    image_larger_than_ramdisk,
    image_larger_than_tftp,
    several_images,
    config_file_missing,
    kernel_missing,
)
