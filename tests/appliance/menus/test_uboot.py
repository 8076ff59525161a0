"""U-Boot's script, as U-Boot reads it."""

import struct
import zlib

from appliance.menus.uboot import render_uboot


def test_the_header_holds() -> None:
    """Both checksums are right, that of the header over itself with zero in its place; the length is the data's."""
    image = render_uboot()
    header, data = image[:64], image[64:]
    magic, checksum, _, size, _, _, of_data = struct.unpack_from(">7I", header)
    assert (magic, size, of_data) == (0x27051956, len(data), zlib.crc32(data))
    assert checksum == zlib.crc32(header[:4] + bytes(4) + header[8:])
    assert header[30] == 6, "a script"


def test_the_script_asks_for_the_menu() -> None:
    """One script, whose length comes first in a list that a zero ends."""
    data = render_uboot()[64:]
    assert struct.unpack_from(">II", data) == (len(data) - 8, 0)
    assert data[8:] == b"pxe get && pxe boot\n"
