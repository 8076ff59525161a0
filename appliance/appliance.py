"""The appliance: every service made, bound and run in one process, in one event loop."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from appliance import host
from appliance.config import Config
from appliance.deployment.choices import Choices
from appliance.deployment.deployments import Deployments
from appliance.deployment.installs import Installs
from appliance.enrolment.api import Registrations
from appliance.enrolment.inbox import Inbox
from appliance.enrolment.members import Enrolments, Members
from appliance.enrolment.uploads import UploadLimits, Uploads
from appliance.exports.names import parse_name
from appliance.exports.service import ExportService
from appliance.heat.api import HeatMaps
from appliance.heat.bootlist import BootLists
from appliance.heat.prefetch import Prefetcher, PrefetchLimits
from appliance.heat.recording import HeatLimits, Recorder
from appliance.host import Interface
from appliance.images.catalog import Catalog, CatalogLimits, Entry
from appliance.images.changes import Changes
from appliance.images.checksums import Checksums
from appliance.images.keeper import ImageKeeper
from appliance.images.memory import Memory
from appliance.leases.api import routes as lease_routes
from appliance.leases.service import LeaseService
from appliance.menus.files import ipxe_script_name
from appliance.names import STATE
from appliance.offers.explanation import Explainer
from appliance.offers.grub import Linker
from appliance.offers.loaders import RecentlyMissing
from appliance.offers.nextserver import NextServer
from appliance.offers.policy import make_plan
from appliance.plan import Plans
from appliance.quirks.adaptive import Adaptation
from appliance.quirks.memory import FlowMemory
from appliance.quirks.offers import heed_quirks
from appliance.quirks.table import Quirks
from appliance.quirks.tftp import Ceiling
from appliance.reports.api import routes
from appliance.reports.report import ImageReport, RefusedReport, report_image, report_refused
from appliance.timeline.machine import Machine, Step
from appliance.timeline.stage import Stage
from appliance.timeline.story import Story
from appliance.timeline.timeline import Timeline, TimelineLimits
from appliance.tree import Tree
from protocols.aoe.endpoint import AoeLimits, AoeServer, Event, Target
from protocols.arp.endpoint import ArpListener
from protocols.dhcp.endpoint import BOOT_SERVER_PORT, PROXY_PORT, DhcpEvent, DhcpLimits, ProxyDhcpServer
from protocols.dhcp.offer import Plan
from protocols.http.endpoint import HttpLimits, HttpServer
from protocols.nbd.endpoint import ExportClosed, NbdEvent, NbdLimits, NbdServer
from protocols.tftp.endpoint import TftpEvent, TftpLimits, TftpServer
from storage.image import Image
from storage.trace import Trace

TICK_SECONDS = 1.0  # how often counters are taken over and patience is checked: a person watching sees seconds

log = structlog.get_logger()


class Appliance:
    """One boot tree served on one interface, from one address."""

    def __init__(self, config: Config, *, root: Path, interface: Interface, address: str) -> None:
        """`root` is the boot tree's folder, `address` an IPv4 address of `interface`.

        Raises: OperatorError for an image that is none, or a setting that names one that is not there.
        """
        self._config = config
        self._interface = interface.name
        self._address = address
        self._port_holder = ""  # of ProxyDHCP's, while machines are heard beside it
        self.catalog = Catalog(
            root / "image", raw=config.boot.raw_images, limits=config.limits_for("catalog", CatalogLimits)
        )
        self.catalog.load()
        self.deployments = Deployments(self.catalog, root / "image", root / STATE / "initrd")
        self.deployments.load_rules()
        self.plans = Plans(
            config,
            self.catalog,
            server=address,
            choices=Choices(self.deployments, server=address),
            installs=Installs(root / "image", server=address),
            private=lambda mac: self.exports.private(mac),
            group_of=lambda mac: self.members.group_of(mac),
        )
        self.plans.check()
        self.checksums = Checksums(self.catalog, Memory(root), is_serving=lambda: self._is_serving)
        self._is_serving, self._sent = False, 0  # whether clients were sent bytes in the last second; in all
        self.changes = Changes()
        self.members = Members(config.kiwi, Inbox(root), Enrolments(root))
        self.tree = Tree(
            root,
            members=self.members,
            catalog=self.catalog,
            plans=self.plans,
            server=address,
            checksums=self.checksums,
            own_initrd=self.deployments.own_initrd,
            find_loader=Linker(root / STATE / "grub", address).find,
            prepare=lambda mac, client: self.exports.prepare(mac, client),
        )
        self.keeper = ImageKeeper(
            catalog=self.catalog,
            changes=self.changes,
            checksums=self.checksums,
            deployments=self.deployments,
            plans=self.plans,
            tree=self.tree,
            on_added=self._add_target,
            every=config.limits_for("catalog", CatalogLimits).refresh_seconds,
        )
        own_quirks = {mac: own.quirks for mac, own in config.machines.items() if own.quirks}
        self.quirks = Quirks(config.quirks, machines=own_quirks, group_of=self.members.group_of)
        self.adaptation = Adaptation(config.quirks, clock=time.time, memory=FlowMemory(root))
        self.timeline = Timeline(limits=config.limits_for("timeline", TimelineLimits), on_step=self._on_step)
        self._make_heat(BootLists(root / STATE / "boots"))
        self._make_disks(config.state or root / STATE)
        plan = self._make_discovery(interface, config.state or root / STATE)
        self._make_transfers(Uploads(root, config.limits_for("uploads", UploadLimits)), plan)

    def _make_heat(self, lists: BootLists) -> None:
        limits = self._config.limits_for
        self.prefetcher = Prefetcher(lists, self.catalog.get, limits("prefetch", PrefetchLimits))
        self.recorder = Recorder(
            limits("heat", HeatLimits),
            identify=lambda client: self._mac_of(client) or client,
            on_recorded=self.prefetcher.learn,
        )

    def _make_disks(self, state: Path) -> None:
        """Roots that are block devices, and the disks of machines' own beside them."""
        self.aoe = AoeServer(
            report=self._on_aoe,
            trace_reads=self._trace_target,
            limits=self._config.limits_for("aoe", AoeLimits),
            pumps=self._config.pumps,
            reservations=self._config.aoe_reservations,
        )
        self.exports = ExportService(
            self._config,
            state,
            aoe=self.aoe,
            connections=lambda: self.nbd.connections(),
            mac_of=self._mac_of,
            image=self.catalog.image,
            boots_over_aoe=self._boots_over_aoe,
        )
        self.nbd = NbdServer(
            find=self._find_export,
            names=self._export_names,
            report=self._on_nbd,
            trace_reads=self._trace_export,
            limits=self._config.limits_for("nbd", NbdLimits),
            pumps=self._config.pumps,
        )

    def _make_discovery(self, interface: Interface, state: Path) -> Plan:
        """What hears of machines first; returns what each is offered before quirks are heeded."""
        self.story = Story(
            self.timeline,
            menu=lambda: self.keeper.menu,
            advertise=self.aoe.advertise,
            boots_from_aoe=lambda mac: self.plans.has_own(mac) and self.plans.for_machine(mac).root == "aoe",
            image_size=self.catalog.image_size,
        )
        self.arp = ArpListener(report=self.story.on_arp)
        self.leases = LeaseService(self._config, interface.own(self._address), state, find=self.arp.find)
        self.next_server = NextServer(interface, self._address, gives_addresses=self.leases.is_on)
        plan = make_plan(
            self._address,
            bios_loader=lambda mac: self.plans.for_machine(mac).bios_loader,
            uefi_loader=lambda mac: self.plans.for_machine(mac).uefi_loader,
            script=ipxe_script_name,
            medium=self.tree.medium,
            missing=RecentlyMissing(),
            grub_finds_us=lambda: self.next_server.is_us,
        )
        self.dhcp = ProxyDhcpServer(
            plan=heed_quirks(plan, self.quirks, self.adaptation),
            report=self._on_dhcp,
            limits=self._config.limits_for("dhcp", DhcpLimits),
            leasing=self.leases.leasing,
        )
        return plan

    def _make_transfers(self, uploads: Uploads, plan: Plan) -> None:
        limits = self._config.limits_for
        self.ceiling = Ceiling(
            limits("tftp", TftpLimits).ceilings(),
            timeline=self.timeline,
            quirks=self.quirks,
            mtu=lambda: host.mtu(self._interface),
        )
        self.tftp = TftpServer(
            open_read=self.tree.open,
            open_write=uploads.open_write,
            report=self._on_tftp,
            limits=limits("tftp", TftpLimits),
            ceilings=self.ceiling,
            pumps=self._config.pumps,
        )
        self.http = HttpServer(
            open_read=self.tree.open,
            open_write=uploads.open_write,
            report=self.story.on_http,
            routes=[
                *routes(self.timeline, self.counters, self.about(), self.images, self.refused, self.notes),
                *HeatMaps(self.catalog, self.recorder).routes(),
                *self.exports.routes(),
                *lease_routes(self.leases),
                *Registrations(self.members, self.tree.answers).routes(),
                *Explainer(
                    plan, self.quirks, self.adaptation, self.tree, self.plans, self.exports, self.leases
                ).routes(),
            ],
            limits=limits("http", HttpLimits),
            pace=self.ceiling.rate,
            pumps=self._config.pumps,
        )

    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """What every protocol counted since the start, by protocol."""
        return {
            "dhcp": self.dhcp.counts,
            "tftp": self.tftp.counts,
            "http": self.http.counts,
            "nbd": self.nbd.counts,
            "aoe": self.aoe.counts,
            "arp": self.arp.counts,
            "prefetch": self.prefetcher.counts,
        }

    def images(self) -> list[ImageReport]:
        """Every image as the API tells of it."""
        wrong = self.tree.sums.wrong if self.tree.sums else lambda image: []
        images = (*self.catalog, *self.catalog.packed)
        return [report_image(each, self.checksums, self.changes.of(each.name), wrong(each)) for each in images]

    def refused(self) -> list[RefusedReport]:
        """Which KIWI configurations are withheld, and why."""
        return [report_refused(finding) for finding in self.tree.refused_configs()]

    def notes(self) -> list[str]:
        """What an operator should know of this appliance, a line each."""
        if not self.dhcp.is_captured:
            return self.leases.notes()
        return [
            f"UDP port {PROXY_PORT} is left to {self._port_holder}: machines are heard by a packet socket beside it"
        ]

    def about(self) -> Mapping[str, str]:
        """What this appliance serves, for the API."""
        return {"interface": self._interface, "address": self._address}

    async def bind(self) -> None:
        """Open every port, or none. Raises: OperatorError naming service, port and who holds it."""
        address, interface = self._address, self._interface
        with contextlib.ExitStack() as opened:
            with host.binding("ProxyDHCP", "udp", address, PROXY_PORT):
                capture = "never" if self.leases.is_on else self._config.capture
                await self.dhcp.bind(interface, address, capture=capture)
                if self.dhcp.is_captured:
                    self._port_holder = host.port_holder("udp", PROXY_PORT) or "a program that is started later"
                opened.callback(self.dhcp.close)
            with host.binding("PXE boot server", "udp", address, BOOT_SERVER_PORT):
                await self.dhcp.bind_boot_server(interface, address)
            with host.binding("TFTP", "udp", address, 69):
                await self.tftp.bind(address, interface=interface)
                opened.callback(self.tftp.close)
            with host.binding("NBD", "tcp", address, 10809):
                await self.nbd.bind(address)
                opened.callback(self.nbd.close)
            with host.binding("HTTP", "tcp", address, 80):
                await self.http.bind(address, unix_path=host.claim_socket(self._config.socket))
                opened.callback(self.http.close)
            with host.binding("AoE", "raw", interface, 0):
                await self.aoe.bind(interface)
                opened.callback(self.aoe.close)
            with host.binding("ARP", "raw", interface, 0):
                await self.arp.bind(interface)
                opened.callback(self.arp.close)
            self.leases.start()
            opened.pop_all()
        for entry in self.catalog:
            self._add_target(entry)

    async def run(self) -> None:
        """Serve until cancelled; what is being recorded then is kept."""
        try:
            await self._run_services()
        finally:
            self.recorder.stop()
            await self.adaptation.keep()
            if self._config.prefetch:
                self.prefetcher.keep()

    async def _run_services(self) -> None:
        async with asyncio.TaskGroup() as group:
            for service in (
                *(self.dhcp, self.leases, self.next_server, self.arp),
                *(self.tftp, self.http, self.nbd, self.aoe),
            ):
                group.create_task(service.run())
            if self._config.prefetch:
                group.create_task(self.prefetcher.run())
            group.create_task(self.exports.targets.run())
            group.create_task(self.keeper.run())
            group.create_task(self._tick())

    async def _find_export(self, name: str, client: str) -> Image:
        if parse_name(name):
            return await self.exports.exports.find(name, client)
        entry = self._export(name, client)
        if entry is None:
            raise FileNotFoundError(name)
        return entry.image

    def _export(self, name: str, client: str) -> Entry | None:
        return self.catalog.get(name) if name else self.plans.entry(self._mac_of(client))

    def _trace_export(self, name: str, client: str) -> Trace | None:
        entry = self._export(name, client)
        return None if entry is None else self.recorder.open(entry.name, client)

    def _trace_target(self, mac: str, shelf: int, slot: int) -> Trace | None:
        entry = next((entry for entry in self.catalog if (entry.shelf, entry.slot) == (shelf, slot)), None)
        return None if entry is None else self.recorder.open(entry.name, mac)

    def _on_dhcp(self, event: DhcpEvent) -> None:
        self.adaptation.hear(event)
        self.leases.hear(event)
        self.story.on_dhcp(event)

    def _on_tftp(self, event: TftpEvent) -> None:
        if mac := self._mac_of(event.client):  # a miss will do, too: it took the offer
            self.adaptation.fetched(mac)
        self.story.on_tftp(event)

    def _on_nbd(self, event: NbdEvent) -> None:
        if isinstance(event, ExportClosed) and (entry := self._export(event.export, event.client)) is not None:
            self.recorder.close(entry.name, event.client)
        if parse_name(event.export) is None or isinstance(event, ExportClosed):  # a disk to write to is no root
            self.story.on_nbd(event)

    def _on_aoe(self, event: Event) -> None:
        if not self.exports.targets.owns(event.shelf, event.slot):
            self.story.on_aoe(event)

    def _on_step(self, machine: Machine, step: Step) -> None:
        if step.stage is Stage.DISCOVERED and not step.second_stage:
            self.recorder.reboot(machine.name)
        if machine.mac and step.stage >= Stage.LOADER:
            self.adaptation.fetched(machine.mac)
        if machine.mac:
            self.exports.note_step(machine.mac, step.stage, second_stage=step.second_stage)
        plan = self.plans.for_machine(machine.mac)
        entry = self.plans.entry(machine.mac)
        if entry is not None and plan.root != "ram" and step.stage < Stage.ROOT_BUSY:
            self.prefetcher.want(entry)

    def _boots_over_aoe(self, mac: str) -> bool:
        told = self.members.has_aoe_root(mac)
        return self.plans.for_machine(mac).root == "aoe" if told is None else told

    def _export_names(self, client: str) -> list[str]:
        return [entry.name for entry in self.catalog] + self.exports.exports.names(client)

    def _mac_of(self, client: str) -> str | None:
        machine = self.timeline.find(client)
        return machine.mac if machine else None

    def _add_target(self, entry: Entry) -> None:
        try:
            self.aoe.add(Target(shelf=entry.shelf, slot=entry.slot, image=entry.image, label=entry.name))
        except ValueError as refusal:  # past limits.aoe.targets: the image is still an NBD export
            log.warning("target_refused", image=entry.name, reason=str(refusal))

    async def _tick(self) -> None:
        while True:
            self.story.poll(self.nbd.connections(), self.aoe.initiators(), self.tftp.downloads(), self.http.downloads())
            self.timeline.check()
            self.recorder.check()
            await self.adaptation.keep()
            sent = self.timeline.moved.total()
            self._is_serving, self._sent = sent > self._sent, sent
            await asyncio.sleep(TICK_SECONDS)
