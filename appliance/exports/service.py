"""Machines' disks as one service of the appliance: the parts, joined, and what the appliance asks of them."""

from collections.abc import Callable, Iterable
from errno import EIO
from pathlib import Path

from aiohttp import web

from appliance.config import Config
from appliance.exports.addresses import Addresses
from appliance.exports.api import ExportApi
from appliance.exports.disks import FOLDER, Disks
from appliance.exports.exports import Exports, Surroundings
from appliance.exports.limits import ExportLimits
from appliance.exports.names import Kind, parse_name
from appliance.exports.policy import Policy, policy_of
from appliance.exports.targets import Server, Targets
from appliance.host import neighbour
from appliance.kiwi.roots import Private
from appliance.timeline.stage import Stage
from protocols.nbd.events import Connection
from storage.errors import StorageError
from storage.image import Image


class ExportService:
    """Every machine's disks."""

    def __init__(
        self,
        config: Config,
        state: Path,
        *,
        aoe: Server,
        connections: Callable[[], Iterable[Connection]],
        mac_of: Callable[[str], str | None],
        image: Callable[[str], Image | None],
        boots_over_aoe: Callable[[str], bool],
    ) -> None:
        """`state` is the folder of what the appliance remembers; `connections` gives those of NBD.

        `mac_of` names the machine behind an address that the kernel has no neighbour for; `image` is one of image/ by
        name; `boots_over_aoe` says whether a machine has its root over AoE. Raises: OperatorError as Addresses does.
        """
        self._config = config
        self._connections = connections
        self._mac_of = mac_of
        around = Surroundings(
            owner=self._owner,
            policy=self.policy,
            image=image,
            requests=self._requests,
        )
        disks = Disks(state, config.limits_for("exports", ExportLimits))
        self._boots_over_aoe = boots_over_aoe
        self.exports = Exports(disks, around)
        self.targets = Targets(self.exports, Addresses(state / FOLDER), aoe, wants=self._writes_over_aoe)

    def policy(self, mac: str) -> Policy:
        """What a machine may write to."""
        return policy_of(self._config, mac)

    def routes(self) -> list[web.RouteDef]:
        """The API's routes."""
        return ExportApi(self.exports, self.targets, policy=self.policy, connections=self._connections).routes()

    def private(self, mac: str) -> Private:
        """What a machine's client configuration names: exports, or the AoE address of its disk once it has one."""
        if self._boots_over_aoe(mac):
            address = self.targets.address(mac) if self._writes_over_aoe(mac) else None
            return Private(write="e{}.{}".format(*address) if address else None)
        offered = self.exports.offered(mac)
        return Private(write=offered.get(Kind.WRITE), swap=offered.get(Kind.SWAP))

    async def prepare(self, mac: str, client: str) -> None:
        """Have what the client configuration of `mac` is to name be there, if `client` is that machine's address.

        Raises: StorageError when it can't be: a machine that is to keep its changes must not boot without.
        """
        if self._writes_over_aoe(mac) and self._owner(client) == mac:
            try:
                await self.targets.assign(mac)
            except OSError as failure:
                why = f"the AoE address of {mac} can't be kept: {failure}"
                raise StorageError(why, failure.errno or EIO) from failure

    def note_step(self, mac: str, stage: Stage, *, second_stage: bool) -> None:
        """Hear how far a machine has come with its boot."""
        is_past_firmware = Stage.KERNEL <= stage <= Stage.CLIENT_CONFIG  # which is past using what it had
        # The appliance that saw its firmware ask may have been another process than this.
        began_before_us = is_past_firmware and not self.exports.has_booted(mac)
        if (stage is Stage.DISCOVERED and not second_stage) or began_before_us:
            self.exports.note_boot(mac)
            self.targets.note_boot(mac)
        if is_past_firmware:
            self.targets.ask(mac)

    def _owner(self, client: str) -> str | None:
        return neighbour(client) or self._mac_of(client)

    def _writes_over_aoe(self, mac: str) -> bool:
        return self.policy(mac).write != "none" and self._boots_over_aoe(mac)

    def _requests(self, export: str) -> int:
        asked = parse_name(export)
        over_aoe = self.targets.commands(asked[1]) if asked and asked[0] is Kind.WRITE else 0
        return over_aoe + sum(one.requests for one in self._connections() if one.export == export)
