"""How files are sent to each client: as its quirks say, and as firmware in general needs it (quirks T-6, I-9)."""

from collections.abc import Callable
from dataclasses import replace

from appliance.quirks.model import Effects
from appliance.quirks.table import Quirks
from appliance.timeline.stage import Firmware
from appliance.timeline.timeline import Timeline
from protocols.tftp.endpoint import Ceilings
from protocols.tftp.options import MAX_BLKSIZE

IP_UDP_TFTP_BYTES = 32  # of headers before a block's bytes
BYTES_IN_MBIT = 125_000
CLIENT_MTU = 1500  # firmware's own, however large the packets are that the server's card takes (quirks D-25)


class Ceiling:
    """The most that is agreed to with each client, by its address."""

    def __init__(
        self, base: Ceilings, *, timeline: Timeline, quirks: Quirks, mtu: Callable[[], int] = lambda: CLIENT_MTU
    ) -> None:
        """`base` is for whom nothing is known of, such as a kernel; `mtu` gives our interface's."""
        self._base = base
        self._timeline = timeline
        self._quirks = quirks
        self._mtu = mtu

    def __call__(self, client: str) -> Ceilings:
        """What is agreed to with the client of this address."""
        machine = self._timeline.find(client)
        if machine is None or machine.runs is None:
            return self._base
        request = self._quirks.last(machine.mac or "")
        effects = self._quirks.apply(request).effects if request else Effects()
        if machine.runs is Firmware.KERNEL:  # it puts fragments together, and KIWI's client counts on it
            return replace(self._base, single_port=bool(effects.single_port))
        whole = min(self._mtu(), CLIENT_MTU) - IP_UDP_TFTP_BYTES
        return Ceilings(
            blksize=min(
                self._base.blksize, effects.blksize_max or MAX_BLKSIZE, MAX_BLKSIZE if effects.frag_ok else whole
            ),
            windowsize=min(self._base.windowsize, effects.window_max or self._base.windowsize),
            window_bytes=self._base.window_bytes,
            single_port=bool(effects.single_port),
            wrap=effects.tftp_wrap or 0,
            rate=(effects.pace_mbit or 0) * BYTES_IN_MBIT,
        )

    def rate(self, client: str) -> int:
        """How many bytes a second the client of this address is sent at most; 0 is no limit."""
        return self(client).rate
