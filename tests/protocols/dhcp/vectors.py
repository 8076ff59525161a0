"""Packets kept in captures/: one file for each machine, hex below comments that say what the packet holds."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from protocols.dhcp.wire import MessageType, Option, parse_packet

CAPTURES = Path(__file__).parent / "captures"
BYTES_A_LINE = 32


def read_capture(name: str) -> list[bytes]:
    """The packets of a capture, in their order."""
    lines = (CAPTURES / f"{name}.txt").read_text().splitlines()
    runs = groupby(lines, key=lambda line: bool(line) and not line.startswith("#"))
    return [bytes.fromhex("".join(run)) for is_hex, run in runs if is_hex]


def write_capture(name: str, about: str, packets: Sequence[tuple[int, bytes]]) -> None:
    """Keep packets, each with the port it came to, as capture `name`."""
    parts = [f"# {about}", *(f"\n{describe(port, packet)}\n{hexdump(packet)}" for port, packet in packets)]
    (CAPTURES / f"{name}.txt").write_text("\n".join(parts) + "\n")


def hexdump(packet: bytes) -> str:
    """Lines of hex."""
    return "\n".join(packet[at : at + BYTES_A_LINE].hex() for at in range(0, len(packet), BYTES_A_LINE))


def describe(port: int, data: bytes) -> str:
    """What a packet holds, as comment lines."""
    packet = parse_packet(data)
    kind = MessageType(packet.options[Option.MESSAGE_TYPE][0]).name
    lines = [f"# {kind} to port {port}, {len(data)} bytes, ciaddr {packet.ciaddr}, flags {packet.flags:#06x}"]
    known = {int(option): option.name for option in Option}
    for code, value in packet.options.items():
        text = f"  {value.decode()!r}" if value.isascii() and value.decode().isprintable() and len(value) > 4 else ""
        lines.append(f"#   {code:3} {known.get(code, ''):18} {value.hex(' ')}{text}")
    return "\n".join(lines)
