"""Which machines to advertise to, and until when: the answer to a driver that asks only once a minute.

The Linux driver (aoenet.c and aoecmd.c of drivers/block/aoe) broadcasts one configuration query when its module
loads, usually before its own link is up, and then one a minute. Its receiving side has no memory of having asked:
aoenet_rcv takes any frame that

- arrives on an interface of its aoe_iflist (all, when that is empty) in the initial network namespace,
- has the Response flag set and the Error flag clear,
- has bit 31 of the tag clear (tags with it set belong to user space; so advertisements carry tag 0),

and aoecmd_cfg_rsp then makes the device out of it: shelf 0xFFF, shelf 0xFFFF and slot 0xFF are refused; the buffer
count, at most aoe_maxout (64), becomes the requests it keeps outstanding, so it must not be 0; the sector count, at
most what its own MTU holds, becomes the size of its requests, where 0 means 1024 bytes; and unless the device is
open an IDENTIFY goes out to the sender. The string and its command are not looked at, and unicast is as good as
broadcast. So a response sent a few times a second to a machine that has just shown its kernel's first DHCP or ARP
packet attaches the device as soon as the module is there. Measured with Linux 6.1 in QEMU, from link up to
/dev/etherd/e0.1: 0.12 s, told at the first ARP; 60.6 s with vblade, which speaks once when it starts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Campaign:
    """One machine that is advertised to; `heard` are the targets it has answered with an ATA command."""

    until: float
    heard: set[tuple[int, int]] = field(default_factory=set)


class AdvertisingPlan:
    """Campaigns by MAC, at most `limit`; past that, the one that would have ended first ends now."""

    __slots__ = ("_campaigns", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._campaigns: dict[str, Campaign] = {}

    def __len__(self) -> int:
        return len(self._campaigns)

    def start(self, mac: str, until: float) -> None:
        """Advertise to `mac` until then. For a machine in the plan it is an extension, and starts all targets again."""
        current = self._campaigns.get(mac)
        if current is not None:
            current.until = max(current.until, until)
            current.heard.clear()
            return
        if len(self._campaigns) >= self._limit:
            del self._campaigns[min(self._campaigns, key=lambda other: self._campaigns[other].until)]
        self._campaigns[mac] = Campaign(until)

    def note_command(self, mac: str, shelf: int, slot: int) -> None:
        """The machine has sent this target an ATA command: it need not hear of it any more."""
        campaign = self._campaigns.get(mac)
        if campaign is not None:
            campaign.heard.add((shelf, slot))

    def due(self, now: float) -> Iterator[tuple[str, set[tuple[int, int]]]]:
        """Drop what is over, then give each machine with the targets it must not be told of, longest waiting first.

        Each one given moves to the end, so a caller who stops early goes on where it stopped.
        """
        for mac in [mac for mac, campaign in self._campaigns.items() if campaign.until <= now]:
            del self._campaigns[mac]
        for mac in list(self._campaigns):
            campaign = self._campaigns.pop(mac)
            self._campaigns[mac] = campaign
            yield mac, campaign.heard
