"""The command on a real network: what is wrong there is found, and nothing else."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from appliance.config import Config
from appliance.doctor.doctor import CHECKS, doctor, show
from appliance.doctor.finding import Finding, Level
from appliance.hearing import hear_offers
from protocols.datagram import udp_socket
from tests.protocols.dhcp.lan import BOX, ROUTER, Lan, inside, made_lan

NETWORK = ("DHCP servers", "ports", "firewall", "link", "raw frames")
Tool = Callable[[str], str]


@pytest.fixture
def lan() -> Iterator[Lan]:
    """A network of the test's own."""
    with made_lan() as lan:
        yield lan


@asynccontextmanager
async def dhcp_server(lan: Lan, dnsmasq: str, folder: Path, *words: str) -> AsyncIterator[None]:
    """The network's DHCP server, from when it answers."""
    process = await asyncio.create_subprocess_exec(*lan.dhcp_server(dnsmasq, folder), *words)
    try:
        with inside(lan.box):
            async with asyncio.timeout(60):
                while not await hear_offers("eth0", "52:54:00:00:00:02", 0.3):
                    assert process.returncode is None
        yield
    finally:
        process.kill()
        await process.wait()


async def examine(lan: Lan, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[dict[str, Any]]]:
    """What the doctor finds in the box, as JSON, of what a network decides."""
    with inside(lan.box):
        is_well = await doctor(Config(interface="eth0"), Console(), as_json=True)
    findings = json.loads(capsys.readouterr().out)
    return is_well, [each for each in findings if each["subject"] in NETWORK and each["level"] != "ok"]


@pytest.mark.root
async def test_a_network_as_it_must_be(
    lan: Lan, tmp_path: Path, tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A DHCP server that knows nothing of network boot."""
    async with dhcp_server(lan, tool("dnsmasq"), tmp_path):
        assert await examine(lan, capsys) == (True, [])


@pytest.mark.root
async def test_everything_wrong(lan: Lan, tmp_path: Path, tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    """A server with a boot file of its own, port 69 held, port 4011 firewalled."""
    wrong = ("--dhcp-boot=other.0,,10.77.0.9", "--dhcp-option-force=60,PXEClient")
    rules = "table ip t {\nchain c {\ntype filter hook input priority 0\nudp dport 4011 drop\n}\n}\n"
    nft = ("ip", "netns", "exec", lan.box, tool("nft"), "-f", "-")
    await asyncio.to_thread(subprocess.run, nft, input=rules, text=True, check=True)
    async with dhcp_server(lan, tool("dnsmasq"), tmp_path, *wrong):
        with inside(lan.box):
            taken = udp_socket(BOX, 69)
        with taken:
            is_well, findings = await examine(lan, capsys)
    assert not is_well
    texts = [each["text"] for each in findings if each["level"] == "error"]
    assert f"{ROUTER} names a boot file, other.0: firmware, shim and GRUB follow it and not our offer" in texts
    assert any(text.startswith(f"{ROUTER} sends option 60 PXEClient with its addresses") for text in texts)
    assert any(text.startswith("UDP port 69 (TFTP) is held by ") for text in texts)
    assert "rule 2 of chain ip t c stops UDP 4011" in texts
    assert len(texts) == 4
    assert all(each["remedy"] for each in findings)


def test_every_check_is_in_the_table() -> None:
    """One that is not is never run."""
    names = {path.stem for path in Path(doctor.__code__.co_filename).parent.glob("*.py")}
    assert {check.__module__.rpartition(".")[2] for check in CHECKS} <= names
    assert len(set(CHECKS)) == len(CHECKS)


def test_shown() -> None:
    """A row each, the remedy below, and a count."""
    console = Console(width=60, record=True, file=StringIO())
    show([Finding("a", Level.ERROR, "bad", "mend"), Finding("b", Level.OK, "good")], console)
    assert " ".join(console.export_text().split()) == "error a bad → mend ok b good 1 error, no warnings"
