"""Ports as they are found: free, another's, ours."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.doctor import ports
from appliance.doctor.finding import Level
from appliance.doctor.ports import check_ports, check_raw_frames
from protocols.datagram import udp_socket
from tests.appliance.doctor.boxes import ETH0, make_box, only, troubles
from tests.protocols.network import fresh_network, ip

LO = make_box(interface=replace(ETH0, name="lo"), address="127.0.0.1")


@pytest.fixture
def loopback() -> Iterator[None]:
    """A network without any server."""
    with fresh_network():
        ip("link", "set", "lo", "up")
        yield


@pytest.mark.root
def test_free(loopback: None) -> None:
    """All in one line."""
    assert only(list(check_ports(LO))).text == "67, 4011, 69, 80, 10809 are free"


@pytest.mark.root
def test_taken(loopback: None) -> None:
    """Each by whom, UDP and TCP; broadcasts count as well."""
    with udp_socket("255.255.255.255", 4011, interface="lo"), socket.create_server(("127.0.0.1", 80)):
        found = troubles(list(check_ports(LO)))
    assert [finding.level for finding in found] == [Level.ERROR, Level.ERROR]
    assert found[0].text.startswith("UDP port 4011 (PXE boot server) is held by ")
    assert found[1].text.startswith("TCP port 80 (HTTP) is held by ")


@pytest.mark.root
def test_dhcp_server_on_this_box(loopback: None) -> None:
    """Its port is heard all the same, and that is no trouble."""
    with udp_socket("0.0.0.0", 67):
        found = list(check_ports(LO))
    assert [finding.level for finding in found] == [Level.OK, Level.OK]
    assert found[0].text.startswith("UDP port 67 (ProxyDHCP) is held by ")
    assert found[0].text.endswith("machines are heard by a packet socket beside it")


@pytest.mark.root
def test_dhcp_server_on_this_box_where_its_port_is_wanted(loopback: None) -> None:
    """By capture = "never", or since we are to give addresses ourselves."""
    with udp_socket("0.0.0.0", 67):
        found = troubles(list(check_ports(replace(LO, may_share=False))))
    assert [finding.level for finding in found] == [Level.ERROR]


@pytest.mark.root
def test_taken_by_ourselves(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rootwire that runs is no trouble."""
    monkeypatch.setattr(ports, "port_holder", lambda transport, number: "rootwire (pid 7)")
    with udp_socket("127.0.0.1", 69):
        assert [finding.level for finding in check_ports(LO)] == [Level.OK, Level.OK]


def test_address_that_is_not_here() -> None:
    """Said as the kernel says it."""
    box = make_box(interface=replace(ETH0, name="lo"), address="192.0.2.1")
    found = troubles(list(check_ports(box)))
    assert len(found) == len(ports.PORTS)


@pytest.mark.root
def test_raw_frames(loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right, or none."""
    assert only(list(check_raw_frames(LO))).level is Level.OK

    def refuse(interface: str, ethertype: int) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(ports, "packet_socket", refuse)
    assert only(list(check_raw_frames(LO))).level is Level.ERROR
