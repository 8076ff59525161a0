"""appliance.offers.nextserver: shim is given by itself only where every DHCP server sends its GRUB to us."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from appliance.host import Interface
from appliance.offers import nextserver
from appliance.offers.nextserver import NextServer
from protocols.dhcp.probe import HeardOffer

US = "10.77.0.2"
ETH0 = Interface("eth0", "52:54:00:00:00:02", 1500, (US,), is_loopback=False, prefixes=(24,))
NAMED = HeardOffer(
    server="10.77.0.1",
    address="10.77.0.50",
    next_server=US,
    file=b"",
    server_name=b"",
    vendor_class=b"",
    vendor_specific=b"",
)
UNNAMED = replace(NAMED, next_server="0.0.0.0")
PROXY = replace(UNNAMED, server="10.77.0.3", address="0.0.0.0")


async def look(heard: tuple[HeardOffer, ...] | Exception, *, gives_addresses: bool = False) -> NextServer:
    """What is found where this is heard."""
    asked = asyncio.Event()

    async def hear(interface: str, mac: str, _seconds: float, on_offer: Callable[[HeardOffer], None]) -> None:
        assert (interface, mac) == (ETH0.name, ETH0.mac)
        asked.set()
        if isinstance(heard, Exception):
            raise heard
        for offer in heard:
            on_offer(offer)

    found = NextServer(ETH0, US, gives_addresses=gives_addresses, hear=hear)
    assert found.is_us is gives_addresses  # until somebody has answered
    task = asyncio.create_task(found.run())
    if gives_addresses:
        await task
        assert not asked.is_set()
        return found
    await asked.wait()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    return found


@pytest.mark.parametrize(
    ("heard", "is_us"),
    [
        ((NAMED,), True),
        ((NAMED, replace(NAMED, server="10.77.0.9"), PROXY), True),
        ((NAMED, UNNAMED), False),
        ((replace(NAMED, file=b"pxelinux.0"),), False),
        ((PROXY,), False),
        ((), False),
        ((NAMED, replace(UNNAMED, address="10.77.0.51")), False),
        (OSError(100, "Network is down"), False),
        (ExceptionGroup("asking", [OSError(100, "Network is down")]), False),
    ],
)
async def test_who_is_named(heard: tuple[HeardOffer, ...] | Exception, is_us: bool) -> None:
    """All of them have to name us, and no file; who can't be heard has named nobody."""
    assert (await look(heard)).is_us is is_us


async def test_nobody_is_asked_where_we_give_the_addresses() -> None:
    """It is us then."""
    assert (await look((), gives_addresses=True)).is_us


async def test_who_does_not_answer_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut we may be up before the DHCP server."""
    monkeypatch.setattr(nextserver, "ASK_AGAIN", 0.0)
    answers = iter([(), (), (NAMED,)])
    is_over = asyncio.Event()

    async def hear(_interface: str, _mac: str, _seconds: float, on_offer: Callable[[HeardOffer], None]) -> None:
        for offer in next(answers):
            on_offer(offer)
            is_over.set()

    found = NextServer(ETH0, US, gives_addresses=False, hear=hear)
    task = asyncio.create_task(found.run())
    await is_over.wait()
    task.cancel()
    assert found.is_us
