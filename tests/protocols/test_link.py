"""A port that outlives its link, at its edges; the rooms' tests show the plain downs and ups."""

import asyncio
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from protocols.link import Link, PacketPort
from tests.protocols.network import cable, fresh_network, ip

pytestmark = pytest.mark.root
LOCAL = 0x88B5  # an ethertype for experiments (IEEE 802)
FRAME = b"\xff" * 6 + bytes.fromhex("525400770099") + LOCAL.to_bytes(2, "big")


class Tally(Counter[str]):
    """Counts that say when one changed."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def __setitem__(self, name: str, count: int) -> None:
        super().__setitem__(name, count)
        self.changed.set()


class Watched:
    """A port on `near`, with what it says."""

    def __init__(self) -> None:
        self.counts = Tally()
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.port = PacketPort(
            LOCAL,
            on_frame=lambda frame: self.frames.put_nowait(bytes(frame)),
            on_link=self.links.put_nowait,
            counts=self.counts,
            frames_per_wake=3,
        )

    async def link(self) -> Link:
        """The next link that is up and differs."""
        async with asyncio.timeout(10):
            return await self.links.get()

    async def counted(self, name: str) -> None:
        """Until something was counted under a name."""
        async with asyncio.timeout(5):
            while not self.counts[name]:
                self.counts.changed.clear()
                await self.counts.changed.wait()

    async def frame(self) -> bytes:
        """The next frame."""
        async with asyncio.timeout(5):
            return await self.frames.get()


@asynccontextmanager
async def watching() -> AsyncIterator[Watched]:
    """A port that runs and whose link is up."""
    watched = Watched()
    await watched.port.bind("near")
    task = asyncio.create_task(watched.port.run())
    try:
        if not watched.port.link.is_up:
            await watched.link()
        yield watched
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        watched.port.close()  # a test that never waited has not let it start


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        yield


def send(*frames: bytes) -> None:
    """Frames from the far end."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind(("far", 0))
        for frame in frames:
            sender.send(frame)


def batch(*lines: str) -> None:
    """Many commands of iproute2's in one process, with no turn for the loop between."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True, capture_output=True)


async def test_more_frames_than_one_wake_serves_all_come() -> None:
    """In order, three at a time."""
    async with watching() as watched:
        sent = [FRAME + bytes([number]) * 46 for number in range(20)]
        send(*sent)
        assert [await watched.frame() for _ in sent] == sent


async def test_short_frames_are_padded_and_long_ones_counted() -> None:
    """To 60 bytes, from any parts; over the MTU is EMSGSIZE."""
    async with watching() as watched:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as receiver:
            receiver.bind(("far", LOCAL))
            assert watched.port.send((FRAME, b"short"))
            assert receiver.recv(2000) == (FRAME + b"short").ljust(60, b"\0")
            assert watched.port.send((FRAME, bytes(1500)))
            assert len(receiver.recv(2000)) == 1514
        assert not watched.port.send((FRAME, bytes(1505)))
        assert watched.counts["unsent_emsgsize"] == 1


async def test_a_link_that_came_up_between_bind_and_run_is_told_and_sent_to() -> None:
    """The ENETDOWN that was left on the socket does not fail the first send."""
    ip("link", "set", "near", "down")
    sent: asyncio.Queue[bool] = asyncio.Queue()
    port = PacketPort(
        LOCAL,
        on_frame=lambda frame: None,
        on_link=lambda link: sent.put_nowait(port.send((FRAME,))),
        counts=Counter(),
    )
    await port.bind("near")
    ip("link", "set", "near", "up")
    async with watching():  # the link is up, and the first port's events wait for it
        task = asyncio.create_task(port.run())
        async with asyncio.timeout(5):
            assert await sent.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_before_binding_nothing_is_sent_and_nothing_runs() -> None:
    """Counted; running is our own bug."""
    watched = Watched()
    assert not watched.port.send((FRAME,))
    assert watched.counts["unsent_unbound"] == 1
    with pytest.raises(RuntimeError):
        await watched.port.run()


async def test_a_new_mac_and_a_new_mtu_are_told() -> None:
    """Each once."""
    async with watching() as watched:
        ip("link", "set", "near", "address", "02:00:00:00:00:07")
        assert (await watched.link()).mac == "02:00:00:00:00:07"
        ip("link", "set", "near", "mtu", "1400")
        assert await watched.link() == watched.port.link
        assert watched.port.link.mtu == 1400


async def test_leaving_a_bridge_is_no_end() -> None:
    """The kernel announces it as a deletion, of the bridge's family."""
    async with watching() as watched:
        index = watched.port.link.index
        batch("link add br0 type bridge", "link set near master br0", "link set near nomaster")
        ip("link", "set", "near", "mtu", "1400")  # told after the others
        assert (await watched.link()).mtu == 1400
        assert watched.port.link.index == index
        send(FRAME.ljust(60, b"\0"))
        assert (await watched.frame())[:14] == FRAME


async def test_a_renamed_interface_stays_ours() -> None:
    """Until another takes the name."""
    async with watching() as watched:
        batch("link set near down", "link set near name elsewhere", "link set elsewhere up")
        assert (await watched.link()).name == "elsewhere"
        send(FRAME.ljust(60, b"\0"))
        assert (await watched.frame())[:14] == FRAME


async def test_an_interface_that_comes_and_goes_too_fast_is_waited_for() -> None:
    """Made and deleted before we look: nothing to bind to; made again: bound."""
    async with watching() as watched:
        add = "link add near type veth peer name far"
        batch("link del near", add, "link del near")
        await watched.counted("rebinds_failed")
        batch(add, "link set far up", "link set near up")
        assert (await watched.link()).name == "near"
        send(FRAME.ljust(60, b"\0"))
        assert (await watched.frame())[:14] == FRAME


async def test_lost_events_make_it_look_afresh() -> None:
    """More changes than the kernel keeps for us: the last one counts."""
    async with watching() as watched:
        batch(*(f"link set {end} mtu {mtu}" for mtu in range(1000, 2000) for end in ("near", "far")))
        async with asyncio.timeout(20):
            while (await watched.links.get()).mtu != 1999:
                pass
        assert watched.counts["link_events_lost"] >= 1
