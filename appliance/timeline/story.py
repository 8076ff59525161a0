"""Each machine's story: what the protocols saw, told to the timeline as stages of a boot.

The rooms know names, addresses and bytes; what they mean for a boot (this file is a kernel, that export a root) is
known here and nowhere else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import chain
from pathlib import PurePosixPath

import structlog

from appliance.kiwi.names import is_client_config
from appliance.menus.model import Menu
from appliance.names import INSIDE, normalise
from appliance.plan import INITRD_PATH, KERNEL_PATH
from appliance.timeline.stage import FINAL_STAGES, Firmware, Stage
from appliance.timeline.timeline import Machine, Timeline
from protocols.aoe import endpoint as aoe
from protocols.aoe.initiators import Initiator
from protocols.arp import endpoint as arp
from protocols.dhcp import endpoint as dhcp
from protocols.http import events as http
from protocols.nbd import endpoint as nbd
from protocols.tftp import endpoint as tftp

# From a kernel's first packet to its aoe module being ready takes 1 to 5 s in the lab's guests; its driver asks by
# itself only once a minute.
ADVERTISE_SECONDS = 10.0

_LOADER_SUFFIXES = {".0", ".efi", ".kpxe", ".kkpxe", ".pxe", ".lkrn", ".c32", ".sys"}
_MENU_FILES = re.compile(r"pxelinux\.cfg/.+|(.*/)?grub\.cfg.*|grub/menu.*\.cfg|.*\.ipxe")
_CARRIED = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, http.CLIENT_LEFT}

log = structlog.get_logger()


def stage_of_file(path: str, menu: Menu) -> Stage | None:
    """What fetching `path` (relative, normalised) means for a boot that follows `menu`; None when nothing."""
    if path in {choice.kernel.lstrip("/") for choice in menu.choices} | {KERNEL_PATH}:
        return Stage.KERNEL
    if path in {initrd.lstrip("/") for choice in menu.choices for initrd in choice.initrds} | {INITRD_PATH}:
        return Stage.INITRD
    if is_client_config(path):
        return Stage.CLIENT_CONFIG
    if path.startswith("image/"):
        image, inside, _ = path.partition(INSIDE)
        # Of what is inside an image, that counts whose place is on a command line: a medium's initramfs asks for it.
        place = f"/{image}{INSIDE.removesuffix('/')}"
        is_named = not inside or any(place in choice.append for choice in menu.choices)
        return Stage.ROOT_LOADING if is_named and not path.endswith((".md5", ".sha256", ".sha512")) else None
    if _MENU_FILES.fullmatch(path):
        return Stage.CONFIG
    if PurePosixPath(path).suffix.lower() in _LOADER_SUFFIXES:
        return Stage.LOADER
    return None


def describe_offer(offer: dhcp.Offer) -> str:
    """The boot file, and the flow where it is not the usual one."""
    return offer.boot_file if offer.flow in ("complete", "http") else f"{offer.boot_file} by {offer.flow}"


class Story:
    """Receives the events of every protocol and tells the timeline what they mean."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        menu: Callable[[], Menu],
        advertise: Callable[[str, float], None],
        boots_from_aoe: Callable[[str], bool],
        image_size: Callable[[str], int | None],
    ) -> None:
        """`menu` gives the present boot menu; `advertise(mac, seconds)` shows a machine its AoE targets.

        `boots_from_aoe(mac)` says whether the configuration sets that machine's root to AoE by name; `image_size(name)`
        gives the bytes of the image called so, or None when there is none.
        """
        self._timeline = timeline
        self._menu = menu
        self._advertise = advertise
        self._boots_from_aoe = boots_from_aoe
        self._image_size = image_size
        self._counted: dict[tuple[str, str], int] = {}  # bytes told already of the downloads under way

    def on_dhcp(self, event: dhcp.DhcpEvent) -> None:
        """ProxyDHCP: discovered, offered, asked on 4011, refused, or just another DHCP client alive."""
        match event:
            case dhcp.Discovered(request):
                self._note_request(Stage.DISCOVERED, request, request.vendor_class)
            case dhcp.Offered(request, offer):
                machine = self._note_request(Stage.OFFERED, request, describe_offer(offer))
                machine.flow, machine.quirk = offer.flow, offer.quirk or None
            case dhcp.BootServerAsked(request, offer):
                self._note_request(Stage.BOOT_SERVER, request, offer.boot_file if offer else "")
            case dhcp.Refused(request, reason):
                log.warning("offer_refused", mac=request.mac, architecture=request.firmware, reason=reason)
            case dhcp.AddressGiven(lease):
                self._note_lease(lease.client, lease.address)
            case dhcp.HostSeen(mac, address):
                self._sign_of_life(mac, address)

    def on_arp(self, event: arp.HostSeen) -> None:
        """ARP: a host is alive, and which address it has."""
        self._sign_of_life(event.mac, event.address)

    def on_tftp(self, event: tftp.TftpEvent) -> None:
        """TFTP: a file asked for, a transfer ended."""
        match event:
            case tftp.TransferStarted(client=client, name=name, direction="read"):
                self._note_file(client, name)
            case tftp.TransferFinished(client=client, name=name, direction="read"):
                self._note_end(client, name, event.size, event.seconds, whole=event.outcome == "completed")
            case _:
                pass  # refusals are the room's to count and log; uploads are no stage of a boot

    def on_http(self, event: http.RequestStarted | http.RequestFinished) -> None:
        """HTTP: a file asked for, an answer ended."""
        match event:
            case http.RequestStarted(client=client, method="GET", name=name):
                self._note_file(client, name)
            case http.RequestFinished(client=client, method="GET", name=name, status=status) if status in _CARRIED:
                self._note_end(client, name, event.size, event.seconds, whole=status == HTTPStatus.OK)
            case _:
                pass

    def on_nbd(self, event: nbd.NbdEvent) -> None:
        """NBD: a root was connected, or let go."""
        match event:
            case nbd.ExportOpened(client=client, export=export):
                self._timeline.note(Stage.ROOT_CONNECTED, address=client, detail=f"nbd {export}")
            case nbd.ExportClosed():
                self._count_nbd(event)  # what was read since the last poll
            case _:
                pass  # refusals are the room's to count and log

    def on_aoe(self, event: aoe.Event) -> None:
        """AoE: a target was identified."""
        if isinstance(event, aoe.TargetIdentified):
            target = f"aoe e{event.shelf}.{event.slot}"
            self._timeline.note(Stage.ROOT_CONNECTED, mac=event.mac, detail=target)

    def poll(
        self,
        connections: Iterable[nbd.Connection],
        initiators: Iterable[Initiator],
        *downloads: Iterable[tftp.Download] | Iterable[http.Download],
    ) -> None:
        """Take over the byte counters of open roots and of downloads under way; called about once a second."""
        for each in connections:
            self._count_nbd(each)
        for one in initiators:
            source = f"aoe e{one.shelf}.{one.slot}"
            self._timeline.traffic(source, mac=one.mac, bytes_read=one.bytes_read, bytes_written=one.bytes_written)
        self._count_downloads(chain.from_iterable(downloads))

    def _count_downloads(self, downloads: Iterable[tftp.Download | http.Download]) -> None:
        running: Counter[tuple[str, str]] = Counter()
        for each in downloads:
            running[each.client, each.name] += each.size
        for (client, name), size in running.items():
            new = size - self._counted.get((client, name), 0)
            if new > 0:
                self._note_file(client, name, new)
        self._counted = dict(running)

    def _note_end(self, client: str, name: str, size: int, seconds: float, *, whole: bool) -> None:
        told = min(self._counted.get((client, name), 0), size)
        if told:
            self._counted[client, name] -= told
        stage = self._note_file(client, name, size - told, seconds)
        if stage is not Stage.ROOT_LOADING or not whole:
            return
        path, inside, _ = name.replace("\\", "/").partition(INSIDE)
        image = PurePosixPath(path).name
        if inside or size >= (self._image_size(image) or 0):
            how = "http" if inside else "ram"  # file by file, from within a medium; or all of the image
            self._timeline.note(Stage.ROOT_CONNECTED, address=client, detail=f"{how} {image}")

    def _count_nbd(self, told: nbd.Connection | nbd.ExportClosed) -> None:
        source = f"nbd {told.export}:{told.port}"
        self._timeline.traffic(
            source, address=told.client, bytes_read=told.bytes_read, bytes_written=told.bytes_written
        )

    def _note_request(self, stage: Stage, request: dhcp.BootRequest, detail: str) -> Machine:
        return self._timeline.note(
            stage,
            mac=request.mac,
            address=request.address,
            uuid=request.uuid,
            architecture=request.firmware,
            firmware=_firmware(request),
            detail=detail,
        )

    def _note_lease(self, mac: str, address: str) -> None:
        """A step of a boot under way; who does not boot from us, or renews what it runs with, is only alive."""
        machine = self._timeline.find(mac)
        if machine is not None and machine.stage is not None and machine.stage not in FINAL_STAGES:
            self._timeline.note(Stage.LEASED, mac=mac, address=address, detail=address)
        else:
            self._sign_of_life(mac, address)

    def _note_file(self, client: str, name: str, size: int = 0, seconds: float = 0.0) -> Stage | None:
        try:
            path = normalise(name)
        except OSError:  # a name that the tree refuses as well: no stage of any boot
            return None
        stage = stage_of_file(path, self._menu())
        if stage is not None:
            kernel_asks = stage in (Stage.CLIENT_CONFIG, Stage.ROOT_LOADING)
            firmware = Firmware.KERNEL if kernel_asks else None
            self._timeline.note(stage, address=client, detail=path, size=size, seconds=seconds, firmware=firmware)
        return stage

    def _sign_of_life(self, mac: str, address: str | None) -> None:
        machine = self._timeline.seen(mac, address)
        if self._awaits_root(machine.stage if machine else None) or self._is_new_and_set_to_aoe(mac, machine is None):
            self._advertise(mac, ADVERTISE_SECONDS)

    def _awaits_root(self, stage: Stage | None) -> bool:
        return stage is not None and stage >= Stage.KERNEL and stage not in FINAL_STAGES

    def _is_new_and_set_to_aoe(self, mac: str, unknown: bool) -> bool:
        return unknown and self._boots_from_aoe(mac)


def _firmware(request: dhcp.BootRequest) -> Firmware:
    if request.is_ipxe:
        return Firmware.IPXE
    return Firmware.HTTP if request.wants_http else Firmware.PXE
