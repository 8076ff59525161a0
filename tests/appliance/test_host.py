"""What the operator is told about the box: interfaces, ports, rights, folders."""

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from appliance import host
from appliance.errors import OperatorError


async def test_loopback_is_listed_with_its_address() -> None:
    """Every Linux namespace whose loopback is up has it."""
    loopback = next(i for i in await host.list_interfaces() if i.is_loopback)
    assert loopback.addresses[0] == "127.0.0.1"
    assert loopback.mtu > 1500


async def test_an_unknown_interface_is_named() -> None:
    """With those there are."""
    with pytest.raises(OperatorError, match=r"interface nonesuch0 does not exist: name one of"):
        await host.choose_interface("nonesuch0", None)


async def test_an_address_must_be_the_interfaces_own() -> None:
    """A reply from another address is not one that clients take."""
    with pytest.raises(OperatorError, match=r"192\.0\.2\.77 is not on interface lo"):
        await host.choose_interface("lo", "192.0.2.77")
    assert (await host.choose_interface("lo", "127.0.0.1"))[1] == "127.0.0.1"


def test_a_boot_tree_must_be_a_folder(tmp_path: Path) -> None:
    """Absent, a file, or not named at all."""
    (tmp_path / "file").touch()
    for root, why in ((None, "--root"), (tmp_path / "no", "does not exist"), (tmp_path / "file", "is no folder")):
        with pytest.raises(OperatorError, match=why):
            host.require_folder(root)
    assert host.require_folder(tmp_path) == tmp_path


def test_a_port_in_use_names_its_holder() -> None:
    """Here this very process."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        comm = Path("/proc/self/comm").read_text().strip()
        assert host.port_holder("udp", port) == f"{comm} (pid {os.getpid()})"
        with (
            pytest.raises(OperatorError, match=rf"TFTP: UDP port {port} on 127.0.0.1 is in use by .*pid {os.getpid()}"),
            host.binding("TFTP", "udp", "127.0.0.1", port),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        ):
            second.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EPERM, "no right to open raw socket on eth0"), (errno.ENODEV, "No such device")]
)
def test_other_failures_are_told_too(number: int, told: str) -> None:
    """Missing rights with the names of the capabilities; the rest in the kernel's words."""
    with pytest.raises(OperatorError, match=told), host.binding("AoE", "raw", "eth0", 0):
        raise OSError(number, os.strerror(number))


def test_the_file_limit_is_raised_to_what_is_allowed() -> None:
    """A thousand clients need a thousand descriptors."""
    host.raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


def test_neighbours_are_known_by_the_mac_that_answers_go_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that did not answer has none; nor has who is not on the LAN."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/arp").write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "10.0.0.1         0x1         0x2         52:54:00:A1:b2:c3     *        eth0\n"
        "10.0.0.11        0x1         0x0         00:00:00:00:00:00     *        eth0\n"
        "10.0.0.12        0x1         0x6         52:54:00:00:00:12     *        eth1\n"
    )
    monkeypatch.setattr(host, "PROC", tmp_path)
    assert host.neighbour("10.0.0.1") == "52:54:00:a1:b2:c3"
    assert host.neighbour("10.0.0.11") is None
    assert host.neighbour("10.0.0.12") == "52:54:00:00:00:12"
    assert host.neighbour("10.0.0.2") is None


def test_mtu() -> None:
    """Loopback takes more than any Ethernet; what is not there has none."""
    assert host.mtu("lo") > 1500
    with pytest.raises(OSError, match="No such device"):
        host.mtu("nosuch0")
