"""The script that U-Boot's distro boot asks TFTP for: it has U-Boot fetch its menu, as it would not do by itself.

U-Boot for QEMU, and for many boards, asks for boot.scr.uimg and then for an EFI program, but never for a menu.

    0      4      8      12     16     20     24     28     29     30     31     32         64
    +------+------+------+------+------+------+------+------+------+------+------+----------+
    | magic| hcrc | time | size | load | entry| dcrc |  os  | arch | type | comp |   name   |
    +------+------+------+------+------+------+------+------+------+------+------+----------+

    then the length of the script, a zero that ends the list of lengths, and the script (U-Boot: include/image.h, the
    legacy image format; all numbers are big-endian).
"""

import zlib
from struct import Struct

SCRIPT_NAME = "boot.scr.uimg"
SCRIPT = b"pxe get && pxe boot\n"

HEADER = Struct(">IIIIIIIBBBB32s")
LENGTHS = Struct(">II")
MAGIC = 0x27051956
LINUX, ANY_PROCESSOR, SCRIPT_TYPE, UNCOMPRESSED = 5, 0, 6, 0


def render_uboot() -> bytes:
    """The same for every machine: whose menu it is, U-Boot says when it asks for pxelinux.cfg."""
    data = LENGTHS.pack(len(SCRIPT), 0) + SCRIPT
    return _header(data, zlib.crc32(_header(data, 0))) + data


def _header(data: bytes, checksum: int) -> bytes:
    kind = (LINUX, ANY_PROCESSOR, SCRIPT_TYPE, UNCOMPRESSED)
    return HEADER.pack(MAGIC, checksum, 0, len(data), 0, 0, zlib.crc32(data), *kind, b"rootwire")
