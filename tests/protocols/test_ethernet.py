"""Addresses as text, and what reaches a packet socket."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from protocols.ethernet import BROADCAST, format_mac, is_station, packet_socket, parse_mac, share_by_source
from tests.protocols.network import cable, fresh_network

LOCAL = 0x88B5  # an ethertype for experiments (IEEE 802)
STRANGER = bytes.fromhex("525400770099")


@pytest.mark.parametrize("text", ["52:54:00:AB:cd:01", "52-54-00-ab-cd-01", "5254.00ab.cd01", "525400ABCD01"])
def test_all_spellings_are_one_address(text: str) -> None:
    """Colons, dashes, dots, nothing; either case."""
    assert format_mac(parse_mac(text)) == "52:54:00:ab:cd:01"


@pytest.mark.parametrize("text", ["", "52:54:00", "52:54:00:ab:cd:0g", "52:54:00:ab:cd:01:02"])
def test_other_text_is_refused(text: str) -> None:
    """Too short, too long, not hexadecimal."""
    with pytest.raises(ValueError):
        parse_mac(text)


def test_other_lengths_are_refused() -> None:
    """Five bytes are no address."""
    with pytest.raises(ValueError, match="6 bytes"):
        format_mac(b"12345")


@pytest.mark.parametrize(
    ("address", "expected"),
    [(STRANGER, True), (BROADCAST, False), (bytes(6), False), (bytes.fromhex("01005e000001"), False)],
)
def test_only_one_machines_address_is_a_station(address: bytes, expected: bool) -> None:
    """Broadcast, groups and zeros are nobody's own."""
    assert is_station(address) is expected


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket, bytes]]:
    """A socket that sends anything into one end of a cable, ours at the other end, and our MAC."""
    with fresh_network():
        cable("near", "far")
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sender.bind(("far", 0))
        receiver = packet_socket("near", LOCAL)
        with sender, receiver:
            yield sender, receiver, receiver.getsockname()[4]


async def receive(sock: socket.socket) -> bytes:
    """The next frame, with a deadline."""
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(sock, 2048)


@pytest.mark.root
async def test_frames_to_us_and_to_everyone_arrive(ends: tuple[socket.socket, socket.socket, bytes]) -> None:
    """Unicast to our MAC, broadcast, and a group's."""
    sender, receiver, mac = ends
    for destination in (mac, BROADCAST, bytes.fromhex("01005e000001")):
        frame = destination + STRANGER + LOCAL.to_bytes(2, "big") + bytes(46)
        sender.send(frame)
        assert await receive(receiver) == frame


@pytest.mark.root
@pytest.mark.parametrize("unwanted", ["other host", "other vlan", "other ethertype"])
async def test_frames_for_others_never_arrive(ends: tuple[socket.socket, socket.socket, bytes], unwanted: str) -> None:
    """Another host's, a VLAN's that we have no interface of, another protocol's: the next frame is seen first."""
    sender, receiver, mac = ends
    kind = LOCAL.to_bytes(2, "big")
    sender.send(
        {
            "other host": STRANGER + STRANGER + kind + b"unwanted",
            "other vlan": mac + STRANGER + b"\x81\x00\x00\x05" + kind + b"unwanted",
            "other ethertype": mac + STRANGER + b"\x88\xb6" + b"unwanted",
        }[unwanted].ljust(60, b"\0")
    )
    sender.send(mac + STRANGER + kind + b"wanted")
    assert (await receive(receiver))[14:20] == b"wanted"


@pytest.mark.root
def test_an_unknown_interface_is_named_by_errno() -> None:
    """ENODEV comes through untouched, and nothing stays open."""
    with fresh_network(), pytest.raises(OSError) as caught:
        packet_socket("absent", LOCAL)
    assert caught.value.errno == 19


@pytest.mark.root
def test_a_group_of_sockets_shares_frames_by_their_senders(ends: tuple[socket.socket, socket.socket, bytes]) -> None:
    """Each sender's go to one of them, and each of them has its part of a hundred machines with MACs in a row."""
    sender, first, mac = ends
    with packet_socket("near", LOCAL) as second:
        share_by_source([first, second])
        for repeat in range(3):
            for number in range(100):
                source = bytes([2, 0, 0, 0, 0, number])
                sender.send(mac + source + LOCAL.to_bytes(2, "big") + bytes([repeat]) * 46)
        seen = [received_senders(sock) for sock in (first, second)]
    assert [set(senders.values()) for senders in seen] == [{3}, {3}]
    assert len(seen[0]) + len(seen[1]) == 100
    assert min(map(len, seen)) > 25


def received_senders(sock: socket.socket) -> Counter[bytes]:
    """How many frames of whom wait in a socket."""
    found: Counter[bytes] = Counter()
    with suppress(BlockingIOError):
        while True:
            found[sock.recv(2048)[6:12]] += 1
    return found
