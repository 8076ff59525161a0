"""`rootwire doctor`: gathers what there is to know, has every check look at it, and prints what they find."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from appliance import host
from appliance.config import Config
from appliance.doctor.box import Box, find_neighbour, list_rules
from appliance.doctor.finding import Finding, Level
from appliance.doctor.firewall import check_firewall
from appliance.doctor.limits import (
    check_conntrack,
    check_files,
    check_neighbours,
    check_ping,
    check_receive_buffer,
    check_sources,
    check_waiting,
)
from appliance.doctor.link import check_address, check_link, check_mtu
from appliance.doctor.ports import check_ports, check_raw_frames
from appliance.doctor.servers import check_servers
from appliance.doctor.supplies import check_clock, check_loaders, check_space
from appliance.hearing import LISTEN_SECONDS, hear_offers
from appliance.names import STATE
from appliance.reports.listing import plain_table

CHECKS: tuple[Callable[[Box], Iterator[Finding]], ...] = (
    check_link,
    check_mtu,
    check_address,
    check_servers,
    check_ports,
    check_raw_frames,
    check_firewall,
    check_ping,
    check_sources,
    check_neighbours,
    check_receive_buffer,
    check_conntrack,
    check_files,
    check_waiting,
    check_loaders,
    check_space,
    check_clock,
)
STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.OK: "green"}


async def doctor(config: Config, console: Console, *, as_json: bool) -> bool:
    """Print every finding; returns whether none is an error. Raises: OperatorError for no such interface or folder."""
    notes = Console(stderr=True)
    with notes.status(f"listening for other DHCP servers, {LISTEN_SECONDS:g} s"):
        box = await examine(config)
    findings = [finding for check in CHECKS for finding in check(box)]
    if as_json:
        console.out(json.dumps([asdict(finding) for finding in findings]), highlight=False)
    else:
        show(findings, console)
    return not any(finding.level is Level.ERROR for finding in findings)


async def examine(config: Config) -> Box:
    """The box that serves, or would with this configuration. Raises: OperatorError as `serve` does."""
    interface, address = await host.choose_interface(config.interface, config.address)
    root = config.root and host.require_folder(config.root)
    can_hear = interface.is_up and not interface.is_loopback
    return Box(
        interface=interface,
        address=address,
        is_address_named=config.address is not None,
        interfaces=tuple(await host.list_interfaces()),
        root=root,
        state=config.state or (root / STATE if root else None),
        offers=await hear_offers(interface.name, interface.mac) if can_hear else (),
        rules=list_rules(),
        neighbour=find_neighbour(),
        may_share=config.capture != "never" and not config.dhcp.is_on,
        gives_addresses=config.dhcp.is_on,
    )


def show(findings: Sequence[Finding], console: Console) -> None:
    """A row for each finding, its remedy below it, and how many of each there are."""
    table = plain_table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        level = Text(finding.level, style=STYLES[finding.level])
        table.add_row(level, finding.subject, Text(finding.text))
        if finding.remedy:
            table.add_row("", "", Text(f"→ {finding.remedy}", style="bold"))
    console.print(table)
    counts = {level: sum(finding.level is level for finding in findings) for level in (Level.ERROR, Level.WARNING)}
    words = (f"{number or 'no'} {level}{'' if number == 1 else 's'}" for level, number in counts.items())
    console.print(Text(", ".join(words), style="bold"))
