"""Other people's DHCP clients at an appliance that gives addresses: got, renewed, given back, kept over a restart."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.client import Place, fetch
from appliance.errors import OperatorError
from tests.protocols.dhcp.lan import BOX, Lan, made_lan

pytestmark = pytest.mark.root

ROOTWIRE = Path(sys.executable).with_name("rootwire")
START_SECONDS = 120.0  # on a machine busy with other things; it listens for other servers for 3.5 s of it
CLIENT_SECONDS = 60
CONFIG = """
[dhcp]
pool = "10.77.0.60-10.77.0.69"
router = "10.77.0.1"
dns = "10.77.0.53"
domain = "lab.example"
"""
UDHCPC_SCRIPT = """#!/bin/sh
case $1 in
  deconfig) ip addr flush dev $interface ;;
  bound) ip addr add $ip/$mask dev $interface ;;
esac
[ -n "$ip" ] && echo "$1 $ip/$mask router=$router dns=$dns domain=$domain lease=$lease"
exit 0
"""
DHCLIENT_CONFIG = 'send host-name "till"; request subnet-mask, routers, domain-name, domain-name-servers;'
GOT = "10.77.0.60/24 router=10.77.0.1 dns=10.77.0.53 domain=lab.example lease=43200"


@dataclass(frozen=True)
class Site:
    """A LAN, a boot tree, and a place for clients' files."""

    lan: Lan
    folder: Path

    @property
    def socket(self) -> Path:
        """The appliance's API."""
        return Path(f"/run/rw-{os.getpid()}.sock")

    def command(self, *more: str) -> list[str]:
        """What runs the appliance."""
        serve = [str(ROOTWIRE), "serve", "-i", "eth0", "-r", str(self.folder), "--socket", str(self.socket)]
        return ["ip", "netns", "exec", self.lan.box, *serve, "-c", str(self.folder / "rootwire.toml"), *more]

    async def leases(self) -> list[dict[str, str]]:
        """As the API tells of them."""
        return list(json.loads(await fetch(Place(self.socket), "api/leases")))

    async def run(self, namespace: str, *words: str) -> str:
        """What a client says, on either stream."""
        process = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", namespace, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        async with asyncio.timeout(CLIENT_SECONDS):
            said, _ = await process.communicate()
        return said.decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Nothing runs yet."""
    (tmp_path / "rootwire.toml").write_text(CONFIG)
    (tmp_path / "udhcpc").write_text(UDHCPC_SCRIPT)
    (tmp_path / "udhcpc").chmod(0o755)
    with made_lan() as lan:
        yield Site(lan, tmp_path)


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[None]:
    """The appliance, answering."""
    with (site.folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*site.command(), stdout=log, stderr=log)
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert process.returncode is None, (site.folder / "log").read_text()
                try:
                    await site.leases()
                except OperatorError:
                    await asyncio.sleep(0.1)
                else:
                    break
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def udhcpc(site: Site, *more: str) -> tuple[str, ...]:
    """busybox's client, which stays."""
    return ("busybox", "udhcpc", "-i", "eth0", "-f", "-A", "1", "-s", str(site.folder / "udhcpc"), *more)


def dhclient(site: Site, program: str) -> tuple[str, ...]:
    """ISC's client, with files of its own."""
    (site.folder / "dhclient.conf").write_text(DHCLIENT_CONFIG)
    files = [("-cf", "dhclient.conf"), ("-lf", "dhclient.leases"), ("-pf", "dhclient.pid")]
    places = (word for option, name in files for word in (option, str(site.folder / name)))
    return (program, "-4", "-d", "-v", "-sf", "/bin/true", *places, "eth0")


@asynccontextmanager
async def speaking(namespace: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A client in the foreground; ended without a word to the server."""
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(process: asyncio.subprocess.Process, text: str) -> str:
    """All that a client says, up to a line with this text."""
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(CLIENT_SECONDS):
        while text not in said:
            line = await process.stdout.readline()
            assert line, said
            said += line.decode()
    return said


async def is_released(site: Site) -> None:
    """Wait until the only lease was given back."""
    async with asyncio.timeout(CLIENT_SECONDS):
        while True:
            [lease] = await site.leases()
            if lease["state"] == "released":
                return
            await asyncio.sleep(0.05)


async def test_udhcpc(site: Site, tool: Callable[[str], str]) -> None:
    """Everything that it asks for; kept over a restart, renewed after it, given back when it is done."""
    tool("busybox")
    host = site.lan.host("client")
    async with speaking(host, *udhcpc(site)) as client:
        async with serving(site):
            await until(client, f"bound {GOT}")
            [before] = await site.leases()
            assert (before["address"], before["state"]) == ("10.77.0.60", "bound")
        async with serving(site):
            [kept] = await site.leases()
            assert kept == before
            client.send_signal(signal.SIGUSR1)
            await until(client, f"renew {GOT}")
            [renewed] = await site.leases()
            assert renewed["since"] == before["since"]
            assert renewed["until"] > before["until"]
            client.send_signal(signal.SIGUSR2)
            await is_released(site)


async def test_dhclient(site: Site, tool: Callable[[str], str]) -> None:
    """Selecting, then from its own lease file (INIT-REBOOT), then from another network's, which is denied."""
    program = tool("dhclient")
    host = site.lan.host("client")
    async with serving(site):
        async with speaking(host, *dhclient(site, program)) as client:
            await until(client, "bound to 10.77.0.60")
        [lease] = await site.leases()
        assert lease["name"] == "till"
        async with speaking(host, *dhclient(site, program)) as client:
            assert "DHCPDISCOVER" not in await until(client, "bound to 10.77.0.60")
        leases = site.folder / "dhclient.leases"
        leases.write_text(leases.read_text().replace("10.77.0.60", "192.168.9.60"))
        async with speaking(host, *dhclient(site, program)) as client:
            said = await until(client, "bound to 10.77.0.60")
    assert "DHCPREQUEST for 192.168.9.60" in said
    assert "DHCPNAK from 10.77.0.2" in said


async def test_two_clients_and_a_squatter(site: Site, tool: Callable[[str], str]) -> None:
    """Each gets its own address, and none the one that somebody was set up with by hand."""
    tool("busybox")
    hosts = [site.lan.host("one"), site.lan.host("two")]
    site.lan.host("squatter", "10.77.0.60")
    async with serving(site):
        said = await asyncio.gather(*(site.run(host, *udhcpc(site, "-n", "-q")) for host in hosts))
        got = sorted(re.findall(r"bound (\S+)/24", "".join(said)))
        assert got == ["10.77.0.61", "10.77.0.62"]
        states = {lease["address"]: lease["state"] for lease in await site.leases()}
    assert states == {"10.77.0.60": "declined", "10.77.0.61": "bound", "10.77.0.62": "bound"}


async def test_refuses_beside_another_server(site: Site, tool: Callable[[str], str], tmp_path: Path) -> None:
    """One line, status 2; with the word of the operator it serves."""
    server = await asyncio.create_subprocess_exec(*site.lan.dhcp_server(tool("dnsmasq"), tmp_path))
    try:
        refused = await asyncio.create_subprocess_exec(*site.command(), stderr=subprocess.PIPE)
        _, said = await refused.communicate()
        assert refused.returncode == 2
        [line] = said.decode().splitlines()
        assert "10.77.0.1 gives addresses on eth0 already" in line
        (site.folder / "rootwire.toml").write_text(f"{CONFIG}beside_others = true\n")
        async with serving(site):
            assert await site.leases() == []
    finally:
        server.terminate()
        await server.wait()


async def test_spoilt_lease_file(site: Site) -> None:
    """One line, status 2."""
    (site.folder / ".rootwire").mkdir()
    (site.folder / ".rootwire/leases").write_text("rootwire leases 1\nhello\n")
    process = await asyncio.create_subprocess_exec(*site.command(), stderr=subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 2
    [line] = said.decode().splitlines()
    assert "line 2 is no lease" in line
    assert BOX not in line
