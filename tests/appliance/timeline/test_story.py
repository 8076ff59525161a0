"""What each protocol event means for a machine's boot."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from appliance.menus.model import Choice, Menu
from appliance.timeline.machine import Boot
from appliance.timeline.stage import Firmware, Stage
from appliance.timeline.story import Story, stage_of_file
from appliance.timeline.timeline import Timeline
from protocols.aoe.endpoint import InitiatorAsked, TargetIdentified
from protocols.arp.endpoint import HostSeen as ArpSeen
from protocols.dhcp.endpoint import (
    AddressGiven,
    Architecture,
    BootRequest,
    Discovered,
    HostSeen,
    Offer,
    Offered,
    Refused,
)
from protocols.dhcp.leasing.lease import Lease, LeaseState
from protocols.http.events import Download as HttpDownload
from protocols.http.events import RequestFinished, RequestStarted
from protocols.nbd.endpoint import Connection, ExportClosed, ExportOpened, ExportRefused
from protocols.tftp.endpoint import RequestRefused, TransferFinished, TransferStarted
from protocols.tftp.events import Download as TftpDownload
from protocols.tftp.transfer import Outcome
from tests.clock import Clock

MAC = "52:54:00:77:00:01"
ADDRESS = "10.77.0.51"
MEDIUM = "image/live.iso/-"
MENU = Menu(
    (
        Choice("own", kernel="/vmlinuz", initrds=("first.img", "second.img")),
        Choice("live.iso", "", f"{MEDIUM}/k", (f"{MEDIUM}/i",), f"inst.repo=http://10.77.0.2/{MEDIUM} quiet"),
    )
)
IMAGE_SIZE = 1000


class Told:
    """A story, its timeline, and the advertisements it asked for."""

    def __init__(self) -> None:
        self.advertised: list[str] = []
        self.timeline = Timeline(clock=Clock())
        self.story = Story(
            self.timeline,
            menu=lambda: MENU,
            advertise=lambda mac, seconds: self.advertised.append(mac),
            boots_from_aoe=lambda mac: mac.endswith("aa"),
            image_size=lambda name: IMAGE_SIZE if name == "edge-1" else None,
        )

    @property
    def boot(self) -> Boot:
        """The one machine's present boot."""
        machine = self.timeline.find(MAC)
        assert machine is not None
        assert machine.boot is not None
        return machine.boot

    @property
    def stage(self) -> Stage | None:
        """How far the one machine of these tests came."""
        machine = self.timeline.find(MAC)
        return machine.stage if machine else None


@pytest.fixture
def told() -> Told:
    """A story that has not begun."""
    return Told()


def request(*, is_ipxe: bool = False) -> BootRequest:
    """What the machine of these tests asks by DHCP."""
    return BootRequest(
        mac=MAC,
        uuid=None,
        architecture=Architecture.X64_UEFI,
        is_ipxe=is_ipxe,
        ipxe_features=frozenset(),
        vendor_class="PXEClient:Arch:00007",
        user_classes=(),
        address=None,
        via="67",
        relay=None,
    )


def test_how_an_offer_was_made_is_told(told: Told) -> None:
    """The flow where it is not the usual one, and what had a say."""
    told.story.on_dhcp(Offered(request(), Offer("snponly.efi", "binl", quirk="dell")))
    machine = told.timeline.find(MAC)
    assert machine is not None
    assert (machine.flow, machine.quirk) == ("binl", "dell")
    assert [step.detail for step in told.boot.steps] == ["snponly.efi by binl"]


def test_an_address_of_ours_is_a_step_of_a_boot(told: Told) -> None:
    """Of one that is under way: who does not boot from us has an address, and no boot."""
    lease = Lease(ADDRESS, MAC, "", LeaseState.BOUND, 1000.0, 2000.0)
    told.story.on_dhcp(AddressGiven(lease, is_new=True))
    assert told.timeline.machines() == []
    told.story.on_dhcp(Offered(request(), Offer("snponly.efi")))
    told.story.on_dhcp(AddressGiven(lease, is_new=False))
    assert [(step.stage, step.detail) for step in told.boot.steps][1:] == [(Stage.LEASED, ADDRESS)]
    assert told.timeline.find(ADDRESS) is told.timeline.find(MAC)


def test_an_address_renewed_by_a_running_system(told: Told) -> None:
    """Is a sign of life."""
    told.story.on_dhcp(Offered(request(), Offer("snponly.efi")))
    told.timeline.note(Stage.ROOT_CONNECTED, mac=MAC)
    told.story.on_dhcp(AddressGiven(Lease(ADDRESS, MAC, "", LeaseState.BOUND, 1000.0, 2000.0), is_new=False))
    assert [step.stage for step in told.boot.steps] == [Stage.OFFERED, Stage.ROOT_CONNECTED]


def test_http_boot_is_told_from_pxe(told: Told) -> None:
    """By its vendor class (P-10)."""
    asked = replace(request(), vendor_class="HTTPClient:Arch:00016:UNDI:003001")
    told.story.on_dhcp(Offered(asked, Offer("http://10.77.0.2/boot.efi", "http")))
    assert told.boot.firmware is Firmware.HTTP


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("pxelinux.0", Stage.LOADER),
        ("ldlinux.c32", Stage.LOADER),
        ("snponly.efi", Stage.LOADER),
        ("pxelinux.cfg/default", Stage.CONFIG),
        ("boot-52-54-00-77-00-01.ipxe", Stage.CONFIG),
        ("grub/grub.cfg", Stage.CONFIG),
        ("boot/linux", Stage.KERNEL),
        ("vmlinuz", Stage.KERNEL),
        ("boot/initrd", Stage.INITRD),
        ("second.img", Stage.INITRD),
        ("KIWI/config.default", Stage.CLIENT_CONFIG),
        ("image/edge-1", Stage.ROOT_LOADING),
        ("image/edge-1.md5", None),
        ("image/edge-1/-/etc/motd", None),
        (f"{MEDIUM}/k", Stage.KERNEL),
        (f"{MEDIUM}/i", Stage.INITRD),
        (f"{MEDIUM}/repodata/repomd.xml", Stage.ROOT_LOADING),
        ("image/other.iso/-/repodata/repomd.xml", None),
        ("api/machines", None),
        ("conf/hosts", None),
    ],
)
def test_a_files_name_tells_its_stage(path: str, stage: Stage | None) -> None:
    """By KIWI's names, by the menu's, by what loaders are called."""
    assert stage_of_file(path, MENU) is stage


def test_a_boot_is_told_from_discover_to_root(told: Told) -> None:
    """Each protocol moves the one machine on, found by MAC or by the address that DHCP told us."""
    steps: list[tuple[Callable[[], None], Stage]] = [
        (lambda: told.story.on_dhcp(Discovered(request())), Stage.DISCOVERED),
        (lambda: told.story.on_dhcp(Offered(request(), Offer("snponly.efi"))), Stage.OFFERED),
        (lambda: told.story.on_dhcp(HostSeen(MAC, ADDRESS)), Stage.OFFERED),
        (lambda: told.story.on_tftp(TransferStarted(ADDRESS, 2, "snponly.efi", "read", 9, 512, 1)), Stage.LOADER),
        (lambda: told.story.on_http(RequestStarted(ADDRESS, "GET", "boot.ipxe", 9)), Stage.CONFIG),
        (lambda: told.story.on_http(RequestFinished(ADDRESS, "GET", "//boot/linux", 200, 9, 1.0)), Stage.KERNEL),
        (lambda: told.story.on_http(RequestFinished(ADDRESS, "GET", "boot/initrd", 200, 9, 1.0)), Stage.INITRD),
        (lambda: told.story.on_http(RequestStarted(ADDRESS, "GET", "KIWI/config.default", 9)), Stage.CLIENT_CONFIG),
        (lambda: told.story.on_nbd(ExportOpened(ADDRESS, 4, "edge-1")), Stage.ROOT_CONNECTED),
    ]
    for happen, stage in steps:
        happen()
        assert told.stage is stage
    assert [m.mac for m in told.timeline.machines()] == [MAC]


def finished(size: int, status: int = 200) -> RequestFinished:
    """The end of a request for the image."""
    return RequestFinished(ADDRESS, "GET", "image/edge-1", status, size, 2.0)


@pytest.mark.parametrize(
    ("event", "stage"),
    [
        (finished(IMAGE_SIZE), Stage.ROOT_CONNECTED),
        (finished(IMAGE_SIZE - 1), Stage.ROOT_LOADING),  # the client left in the middle
        (finished(IMAGE_SIZE, 206), Stage.ROOT_LOADING),
    ],
)
def test_an_image_in_ram_is_a_root_once_it_is_whole(told: Told, event: RequestFinished, stage: Stage) -> None:
    """Half of an image is none."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    told.story.on_http(event)
    assert told.stage is stage


def test_a_medium_is_in_use_once_a_file_of_it_was_fetched(told: Told) -> None:
    """One that the initramfs asks for, whole: an installer may fetch few, and then wait for a person."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    for name, size, stage in (("k", 9, Stage.KERNEL), ("a", 9, Stage.ROOT_CONNECTED)):
        told.story.on_http(RequestFinished(ADDRESS, "GET", f"{MEDIUM}/{name}", 200, size, 1.0))
        assert told.stage is stage
    assert told.boot.steps[-1].detail == "http live.iso"


@pytest.mark.parametrize(
    ("outcome", "stage"), [(Outcome.TIMED_OUT, Stage.ROOT_LOADING), (Outcome.COMPLETED, Stage.ROOT_CONNECTED)]
)
def test_over_tftp_the_outcome_says_whether_it_is_whole(told: Told, outcome: Outcome, stage: Stage) -> None:
    """A transfer that failed is no root."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    told.story.on_tftp(TransferFinished(ADDRESS, 2, "image/edge-1", "read", outcome, IMAGE_SIZE, 2.0, 0))
    assert told.stage is stage


def test_a_kernel_that_stirs_is_shown_its_targets(told: Told) -> None:
    """From its kernel on, and until it has its root; never a machine that does not boot from us."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    told.story.on_dhcp(Discovered(request()))
    told.story.on_dhcp(HostSeen(MAC, ADDRESS))
    assert told.advertised == []
    told.story.on_http(RequestStarted(ADDRESS, "GET", "boot/linux", 9))
    told.story.on_dhcp(HostSeen(MAC, None))
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    assert told.advertised == [MAC, MAC]
    told.story.on_aoe(TargetIdentified(MAC, 0, 1))
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    assert told.advertised == [MAC, MAC]
    assert told.stage is Stage.ROOT_CONNECTED


def test_a_machine_set_to_aoe_is_shown_its_targets_even_when_its_kernel_came_from_elsewhere(told: Told) -> None:
    """A kernel on a stick is no less diskless."""
    told.story.on_dhcp(HostSeen("52:54:00:77:00:aa", None))
    assert told.advertised == ["52:54:00:77:00:aa"]


def test_what_is_no_step_of_a_boot_makes_no_machine(told: Told) -> None:
    """Refusals, uploads, misses, questions, names that climb out."""
    told.story.on_dhcp(Refused(request(), "no loader"))
    told.story.on_tftp(RequestRefused(ADDRESS, "x", 1, "File not found"))
    told.story.on_tftp(TransferStarted(ADDRESS, 2, "upload/client.x", "write", 0, 512, 1))
    told.story.on_tftp(TransferStarted(ADDRESS, 2, "../boot/linux", "read", 0, 512, 1))
    told.story.on_http(RequestStarted(ADDRESS, "PUT", "upload/x", 9))
    told.story.on_http(RequestFinished(ADDRESS, "GET", "boot/linux", 404, 9, 0.0))
    told.story.on_nbd(ExportRefused(ADDRESS, "x", "no such export"))
    told.story.on_aoe(InitiatorAsked(MAC, 0, 1))
    assert told.timeline.machines() == []


def test_root_traffic_is_counted_to_the_last_byte(told: Told) -> None:
    """By polling while the connection lives, and by its closing report for what came since."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    told.story.on_nbd(ExportOpened(ADDRESS, 4, "edge-1"))
    told.story.poll([Connection(ADDRESS, 4, "edge-1", 500, 0, 3, 0.0)], [], [])
    told.story.on_nbd(ExportClosed(ADDRESS, 4, "edge-1", 800, 0, 9.0, "disconnected"))
    assert told.boot.bytes_read == 800


def test_a_download_is_seen_moving_and_counted_once(told: Told) -> None:
    """A slow line is no stall: bytes are told while they move, and not again at the end."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    told.story.on_http(RequestStarted(ADDRESS, "GET", "boot/linux", 900))
    for size in (300, 700):
        told.story.poll([], [], [HttpDownload(ADDRESS, "boot/linux", size)], [TftpDownload(ADDRESS, "nothing", 5)])
        assert told.boot.size == size
    told.story.on_http(RequestFinished(ADDRESS, "GET", "boot/linux", 200, 900, 4.0))
    told.story.poll([], [], [])
    assert told.boot.size == 900
    assert told.boot.furthest.count == 1


def test_two_downloads_of_one_file_are_two(told: Told) -> None:
    """A client that asks twice at once gets twice the bytes, whichever ends first."""
    told.story.on_arp(ArpSeen(MAC, ADDRESS))
    both = [HttpDownload(ADDRESS, "image/edge-1", 400), HttpDownload(ADDRESS, "image/edge-1", 600)]
    told.story.poll([], [], both)
    told.story.on_http(RequestFinished(ADDRESS, "GET", "image/edge-1", 499, 600, 4.0))
    told.story.poll([], [], both[:1])
    told.story.on_http(RequestFinished(ADDRESS, "GET", "image/edge-1", 200, IMAGE_SIZE, 4.0))
    assert told.boot.size == 600 + IMAGE_SIZE
    assert told.stage is Stage.ROOT_CONNECTED
