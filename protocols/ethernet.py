"""Ethernet addresses as text and bytes: what every room that sees frames or hardware addresses shares."""

MAC_BYTES = 6  # an IEEE 802 address


def format_mac(address: bytes) -> str:
    """Six bytes as lower-case text with colons. Raises: ValueError when there are not six."""
    if len(address) != MAC_BYTES:
        raise ValueError(f"a MAC address has {MAC_BYTES} bytes, not {len(address)}")
    return address.hex(":")


def parse_mac(text: str) -> bytes:
    """Six bytes from text with colons, dashes, dots or nothing between its twelve hex digits, in either case.

    Raises: ValueError when the text is no MAC address.
    """
    digits = text.translate({ord(separator): None for separator in ":-."})
    if len(digits) != 2 * MAC_BYTES:
        raise ValueError(f"{text!r} is no MAC address")
    return bytes.fromhex(digits)
