"""The generator of machines that discover, against our own server and against nobody."""

import asyncio
from pathlib import Path

import pytest

from deploy.benchmark.generators import build, run
from protocols.dhcp.endpoint import BootRequest, Offer, ProxyDhcpServer
from tests.protocols.network import cable, fresh_network, ip

ADDRESS = "10.77.0.1"


@pytest.mark.root
@pytest.mark.parametrize("spread", [(), ("--spread", "0.2")])
async def test_every_machine_is_heard_once(tmp_path: Path, spread: tuple[str, ...]) -> None:
    """The server sees as many MACs as there are machines, and each has its offer."""
    macs: list[str] = []

    def plan(request: BootRequest) -> Offer:
        macs.append(request.mac)
        return Offer("loader.efi")

    with fresh_network():
        cable("near", "far")
        ip("addr", "add", f"{ADDRESS}/24", "dev", "near")
        server = ProxyDhcpServer(plan=plan, report=lambda event: None)
        await server.bind("near", ADDRESS)
        task = asyncio.create_task(server.run())
        words = ["--interface", "far", "--machines", "300", *spread]
        load = await run(build("dhcp", tmp_path), words, seconds=20)
        task.cancel()
        await asyncio.wait([task])
    assert (load.requests, load.served, len(macs), len(set(macs))) == (300, 300, 300, 300)
    assert load.p50_us is not None and load.p99_us is not None and load.max_us is not None  # noqa: PT018  # for mypy
    assert 0 < load.p50_us <= load.p99_us <= load.max_us * 1.016


@pytest.mark.root
async def test_nobody_answers(tmp_path: Path) -> None:
    """Who has no offer in time has waited that long, at least."""
    with fresh_network():
        cable("near", "far")
        load = await run(build("dhcp", tmp_path), ["--interface", "far", "--machines", "3"], seconds=0.3)
    assert (load.served, load.bytes) == (0, 0)
    assert load.p50_us is not None
    assert load.p50_us >= 0.3e6


@pytest.mark.parametrize("words", ["", "--interface nowhere", "--machines 0", "--spread 0", "--sideways", "more"])
async def test_a_wrong_argument_is_one_line_and_status_2(tmp_path: Path, words: str) -> None:
    """The line names the generator."""
    program = build("dhcp", tmp_path)
    process = await asyncio.create_subprocess_exec(program, *words.split(), stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.startswith(b"dhcp: ")
    assert said.count(b"\n") == 1
