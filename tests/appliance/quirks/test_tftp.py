"""How large TFTP's blocks and windows are for each client."""

import pytest

from appliance.quirks.model import Effects, QuirkSettings
from appliance.quirks.table import Quirks
from appliance.quirks.tftp import Ceiling
from appliance.timeline.stage import Firmware, Stage
from appliance.timeline.timeline import Timeline
from protocols.tftp.endpoint import Ceilings
from tests.appliance.quirks.requests import PC, PI

CLIENT = "10.77.0.9"
BASE = Ceilings()


def ceilings(runs: Firmware | None, effects: Effects | None = None, mtu: int = 1500, mac: str = PC.mac) -> Ceilings:
    """What a machine gets that runs this and whose own table says that."""
    timeline = Timeline(clock=lambda: 0.0)
    timeline.note(Stage.DISCOVERED, mac=mac, address=CLIENT, firmware=runs)
    quirks = Quirks(QuirkSettings(), machines={PC.mac: effects} if effects else {})
    if effects is not None or mac == PI.mac:
        quirks.note(PI if mac == PI.mac else PC)
    return Ceiling(BASE, timeline=timeline, quirks=quirks, mtu=lambda: mtu)(CLIENT)


def test_stranger() -> None:
    """Nothing is known of it: it may be a program that takes anything."""
    assert Ceiling(BASE, timeline=Timeline(), quirks=Quirks(QuirkSettings()))(CLIENT) is BASE


@pytest.mark.parametrize("runs", [Firmware.KERNEL, None])
def test_kernel(runs: Firmware | None) -> None:
    """KIWI's client asks for large blocks on purpose, and its kernel takes fragments (T-6)."""
    assert ceilings(runs, Effects(blksize_max=512)) == BASE


@pytest.mark.parametrize(("mtu", "blksize"), [(1500, 1468), (9000, 1468), (1400, 1368)])
def test_firmware_gets_whole_packets(mtu: int, blksize: int) -> None:
    """Blocks that need no fragments on the way, with a quirk or without (T-6, D-25)."""
    assert ceilings(Firmware.PXE, mtu=mtu) == Ceilings(blksize, BASE.windowsize, BASE.window_bytes)
    assert ceilings(Firmware.PXE, Effects(flow="binl"), mtu).blksize == blksize


def test_quirks_bound_both() -> None:
    """Never more than they say, nor more than the server gives."""
    assert ceilings(Firmware.PXE, Effects(blksize_max=1024, window_max=4)) == Ceilings(1024, 4, BASE.window_bytes)


def test_fragments_are_allowed() -> None:
    """To a machine that puts them together."""
    assert ceilings(Firmware.PXE, Effects(frag_ok=True, blksize_max=8192)).blksize == 8192


def test_shipped_row() -> None:
    """A Raspberry Pi loses what comes in windows."""
    assert ceilings(Firmware.PXE, mac=PI.mac) == Ceilings(1468, 1, BASE.window_bytes)


@pytest.mark.parametrize("runs", [Firmware.PXE, Firmware.KERNEL])
def test_single_port(runs: Firmware) -> None:
    """What is between us and the machine does not change when its kernel starts (T-14)."""
    assert ceilings(runs, Effects(single_port=True)).single_port
    assert not ceilings(runs).single_port


def test_pace() -> None:
    """Firmware is sent no more than it takes; a kernel takes all (I-9)."""
    assert ceilings(Firmware.IPXE, Effects(pace_mbit=100)).rate == 12_500_000
    assert ceilings(Firmware.KERNEL, Effects(pace_mbit=100)).rate == 0
    assert Ceiling(BASE, timeline=Timeline(), quirks=Quirks(QuirkSettings())).rate(CLIENT) == 0


def test_wrap() -> None:
    """The few that go on with 1 (T-9)."""
    assert ceilings(Firmware.PXE, Effects(tftp_wrap=1)).wrap == 1
    assert ceilings(Firmware.PXE, Effects(tftp_wrap=0)).wrap == 0
