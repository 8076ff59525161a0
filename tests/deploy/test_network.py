"""The lab's LAN by itself: who reaches whom, what loss does, and that nothing is left behind."""

import subprocess
import sys
import time

import pytest

from deploy.lab.errors import LabError
from deploy.lab.network import BOX_ADDRESS, CLIENTS_GATEWAY, ROUTER_ADDRESS, SECOND_ROUTER_ADDRESS, VLANS, Network

pytestmark = pytest.mark.root

PINGS = 200
SOON = 30.0  # seconds; the kernel's own link watch takes up to one, a busy machine longer
LAN_BROADCAST = "10.77.0.255"

# Plugged into tap0 it looks at nothing until it is told to, then says how many frames were there.
LATE_CLIENT = """
import fcntl, os, struct
tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"tap0", 0x1002))  # TUNSETIFF, IFF_TAP | IFF_NO_PI
print("plugged in", flush=True)
input()
frames = 0
try:
    while os.read(tap, 65536):
        frames += 1
except BlockingIOError:
    print(frames)
"""


def ping(namespace: str, address: str, count: int = 1) -> int:
    """How many of `count` pings were answered."""
    command = [
        "ip",
        "netns",
        "exec",
        namespace,
        "busybox",
        "ping",
        "-q",
        "-i",
        "0.005",
        "-W",
        "1",
        "-c",
        str(count),
        address,
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return int(said.split(" packets received")[0].split()[-1])


def reaches(namespace: str, address: str) -> bool:
    """Whether pings are answered, soon enough: a link that was just switched on carries nothing for a moment."""
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        if ping(namespace, address):
            return True
    return False


def namespaces() -> set[str]:
    """The names of all network namespaces."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


def test_box_and_router_reach_each_other() -> None:
    """Each has its address on the same bridge."""
    with Network(1) as network:
        assert reaches(network.router, BOX_ADDRESS)
        assert reaches(network.box, ROUTER_ADDRESS)


def test_two_labs_stand_side_by_side() -> None:
    """The same addresses, other names: a run and a test don't meet."""
    with Network(1) as one, Network(1) as other:
        assert one.name != other.name
        assert {one.box, other.box} <= namespaces()


def test_behind_a_relay() -> None:
    """Both servers know the way to the clients' network, and the relay forwards."""
    with Network(1, arm="relay") as network:
        assert reaches(network.box, CLIENTS_GATEWAY)
        assert reaches(network.router, CLIENTS_GATEWAY)


def test_two_dhcp_servers() -> None:
    """The second is on the LAN too."""
    with Network(1, arm="two-dhcp") as network:
        assert reaches(network.box, SECOND_ROUTER_ADDRESS)
        assert network.second_router in namespaces()


def test_nothing_is_left_behind() -> None:
    """Not even when the lab ends with an error."""
    with pytest.raises(LabError), Network(1) as network:
        raise LabError("something")
    assert not {network.lan, network.box, network.router} & namespaces()


def test_a_link_goes_down_and_up() -> None:
    """As with a cable that is pulled; the address is still there afterwards."""
    with Network(1) as network:
        network.set_link("down")
        assert ping(network.router, BOX_ADDRESS) == 0
        network.set_link("up")
        assert reaches(network.router, BOX_ADDRESS)


def test_loss_hits_both_ways() -> None:
    """Of a request and its answer, each lost three times in ten, about half come back: surely not all, nor none."""
    with Network(1) as network:
        assert reaches(network.router, BOX_ADDRESS)  # neither has to ask for the other's MAC again
        network.set_loss(30)
        assert PINGS * 0.2 < ping(network.router, BOX_ADDRESS, PINGS) < PINGS * 0.8
        network.set_loss(0)
        assert ping(network.router, BOX_ADDRESS, PINGS) == PINGS


def test_a_tap_keeps_only_so_much() -> None:
    """What more comes before its client takes it is lost."""
    with Network(1) as network:
        network.set_queue("tap0", 8)
        command = ["ip", "netns", "exec", network.lan, sys.executable, "-c", LATE_CLIENT]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == "plugged in\n"
            assert reaches(network.router, BOX_ADDRESS)
            ping(network.router, LAN_BROADCAST, PINGS)
            said, _ = client.communicate("\n", timeout=SOON)
    assert 8 <= int(said) <= 16  # a kernel may keep as many again before the tap itself


def test_vlan() -> None:
    """The box is reached by its tagged interface alone; a kernel without VLANs is refused, with nothing made."""
    subprocess.run(["modprobe", "--quiet", "8021q"], check=False)
    network = Network(1, arm="vlan")
    if not VLANS.exists():
        with pytest.raises(LabError, match=r"^this kernel has no VLANs"), network:
            pass
        assert not [each for each in namespaces() if each.startswith(network.name)]
        return
    with network:
        assert reaches(network.router, BOX_ADDRESS)
        shown = subprocess.run(["ip", "-n", network.box, "-brief", "addr"], capture_output=True, text=True, check=True)
        assert [line.split("@")[0] for line in shown.stdout.splitlines() if BOX_ADDRESS in line] == ["eth0.7"]
