"""KIWI's netboot files as its clients read them: client configurations, checksums and the spellings of both.

The contract is the clients' own source (kiwi 7.04 to 9, package kiwi-boot-descriptions). Left out for now: disks,
CONF, groups, hardware maps, registration.
"""

import re
from typing import Literal

from protocols.ethernet import format_mac, parse_mac

# What a name may hold to survive the client's shell, its list separators and its eval'd download command.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,200}")
_CONFIG_NAME = re.compile(r"KIWI/config\.(?P<who>[0-9A-Fa-f:.\-]{12,17})")
_VALUE = re.compile(r"[^'\\\n\r]*")

CONFIG_PREFIX = "KIWI/config."
TFTP_BLOCK = 32768  # bytes; the client raises smaller ones until an image has under 65,535 blocks
BLOCK_LIMIT = 8192  # bytes; the largest block size kiwi 8 and later write into a checksum file
NO_VERSION = "0"  # stands in for the version of an image whose file name has none


def is_safe_name(name: str) -> bool:
    """Whether an image name can be given to every client: letters, digits and . _ + -, at most 201, no leading dot."""
    return _SAFE_NAME.fullmatch(name) is not None


def mac_asked_for(path: str) -> str | None:
    """The machine whose own configuration `path` (relative to the root) names, in whatever spelling.

    Clients ask upper case with colons, the documentation writes dots, people write dashes and lower case: all are
    the same file. None when the path is no config.<MAC>.
    """
    found = _CONFIG_NAME.fullmatch(path)
    if found is None:
        return None
    try:
        return format_mac(parse_mac(found["who"]))
    except ValueError:
        return None


def is_client_config(path: str) -> bool:
    """Whether `path` is one of the files a client's initramfs looks its configuration up in."""
    return path.startswith(CONFIG_PREFIX)


def split_name(image: str) -> tuple[str, str]:
    """NAME and VERSION of an image file called NAME.ARCH-VERSION; a name without a version gets version 0."""
    name, dash, version = image.rpartition("-")
    return (name, version) if dash and name and version else (image, NO_VERSION)


def client_config(root: Literal["nbd", "aoe", "ram"], *, server: str, image: str, target: str) -> bytes:
    """The configuration of a machine that boots `image` from `server`, over NBD, AoE (`target`, as e0.1) or into RAM.

    One key a line, single quotes, no empty field before the last one needed: the part of the grammar that every
    version of the client reads alike. Raises: ValueError when a value can't be written in it.
    """
    if root == "nbd":
        keys = {"NBDROOT": f"{server};{image};/dev/nbd0", "UNIONFS_CONFIG": "tmpfs,nbd,overlay"}
    elif root == "aoe":
        keys = {"AOEROOT": f"/dev/etherd/{target}", "UNIONFS_CONFIG": "tmpfs,aoe,overlay"}
    else:
        name, version = split_name(image)
        keys = {
            "IMAGE": f"/dev/ram1;{name};{version};{server};{TFTP_BLOCK}",
            "UNIONFS_CONFIG": "tmpfs,/dev/ram1,overlay",
        }
    for key, value in keys.items():
        if not _VALUE.fullmatch(value):
            raise ValueError(f"{key} can't hold {value!r}")
    return "".join(f"{key}='{value}'\n" for key, value in keys.items()).encode()


def checksum_line(digest: str, size: int) -> bytes:
    """The text of NAME.md5, and of NAME.sha256 since kiwi 10.2.6: the sum, then blocks and block size.

    Their product is `size` (bytes, over 0) exactly.
    """
    block = _block_size(size)
    return f"{digest} {size // block} {block}\n".encode()


def _block_size(size: int) -> int:
    """A divisor of `size` up to BLOCK_LIMIT, made of its prime factors in rising order as KIWI's builder does."""
    block, rest, factor = 1, size, 2
    while rest > 1 and block * factor <= BLOCK_LIMIT:
        if rest % factor:
            factor += 1
        else:
            block *= factor
            rest //= factor
    return block
