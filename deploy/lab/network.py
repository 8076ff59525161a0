"""The lab's LAN: three network namespaces, a bridge, a tap per client, and packet loss where it is asked for.

                         lan: br0 10.77.0.3
        +--------+----------+-----------+--------- ...
      vbox    vrouter      tap0        tap1
        |        |          |           |
    box: eth0   router: eth0   QEMU        QEMU
    10.77.0.2   10.77.0.1
    appliance   plain DHCP

With the arm "relay" the taps are on a bridge of their own, 10.78.0.0/24, behind a host that routes and relays DHCP to
both servers (quirks D-2); with "two-dhcp" a second plain DHCP server stands beside the first (D-28); with "same-host"
it is the box itself that runs the plain DHCP server, beside the appliance (D-22); with "own-dhcp" there is none but the
appliance, which gives the addresses. With "vlan" the bridge is a switch whose port to the box is tagged, and the box
serves on the VLAN's interface, eth0.7 (A-7): a kernel with 802.1Q only.

The names carry the process id and a number, so labs run side by side. There is no route out of any of them.
"""

import itertools
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from deploy.lab.errors import LabError

ROUTER_ADDRESS = "10.77.0.1"
BOX_ADDRESS = "10.77.0.2"
LAN_ADDRESS = "10.77.0.3"
RELAY_ADDRESS = "10.77.0.4"  # its face to the servers
SECOND_ROUTER_ADDRESS = "10.77.0.5"
CLIENTS_GATEWAY = "10.78.0.1"  # the relay's face to the clients, and its giaddr
CLIENTS_NETWORK = "10.78.0.0/24"
CLIENTS_GATEWAY_V6 = "fd00:78::1"

Arm = Literal["plain", "relay", "two-dhcp", "next-server", "same-host", "vlan", "own-dhcp"]

# The router advertises an IPv6 prefix, as routers do. Without one iPXE waits 13 s in vain before it goes on.
ROUTER_ADDRESS_V6 = "fd00:77::1"

VLAN = 7
VLANS = Path("/proc/net/vlan")  # there as soon as the kernel has 802.1Q
BRIDGE = "stp_state 0 forward_delay 0 mcast_snooping 0"

_numbers = itertools.count()

# Both directions are dropped at the bridge's port to the box, where every packet passes whatever socket sent it: raw
# frames of AoE may bypass the queueing layer, and its egress hook, on the box's own interface.
LOSS_RULES = """\
table netdev loss {{
  chain from_box {{ type filter hook ingress device "vbox" priority 0; numgen random mod 100 < {percent} drop; }}
  chain to_box {{ type filter hook egress device "vbox" priority 0; numgen random mod 100 < {percent} drop; }}
}}
"""


def _run(command: list[str], given: str | None = None) -> None:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{' '.join(command)} failed: {said[0] if said else f'status {done.returncode}'}")


def _require_vlans() -> None:
    """Raises: LabError where the kernel has no 802.1Q, not even as a module."""
    subprocess.run(["modprobe", "--quiet", "8021q"], check=False)
    if not VLANS.exists():
        raise LabError("this kernel has no VLANs (CONFIG_VLAN_8021Q): run the arm vlan on one that has, as Debian's")


class Network:
    """One LAN, up inside `with`; everything in it is removed at the end."""

    def __init__(self, taps: int, *, loss: int = 0, arm: Arm = "plain") -> None:
        """`taps` is how many clients can be plugged in; `loss` is per cent lost each way at the box's port."""
        self.name = f"rw{os.getpid()}x{next(_numbers)}"
        self._taps = taps
        self._loss = loss
        self.arm: Arm = arm

    @property
    def lan(self) -> str:
        """The namespace of the bridge and the clients."""
        return f"{self.name}-lan"

    @property
    def box(self) -> str:
        """The namespace of the boot server."""
        return f"{self.name}-box"

    @property
    def interface(self) -> str:
        """What the boot server serves on, in its namespace."""
        return f"eth0.{VLAN}" if self.arm == "vlan" else "eth0"

    @property
    def router(self) -> str:
        """The namespace of the plain DHCP server."""
        return f"{self.name}-router"

    @property
    def relay(self) -> str:
        """The namespace of the arm's DHCP relay."""
        return f"{self.name}-relay"

    @property
    def second_router(self) -> str:
        """The namespace of the arm's second DHCP server."""
        return f"{self.name}-router2"

    @property
    def namespaces(self) -> list[str]:
        """All there are."""
        arms = {"relay": [self.relay], "two-dhcp": [self.second_router]}
        return [self.lan, self.box, self.router, *arms.get(self.arm, [])]

    def __enter__(self) -> Self:
        if self.arm == "vlan":
            _require_vlans()
        try:
            for namespace in self.namespaces:
                _run(["ip", "netns", "add", namespace])
            for namespace, commands in self._commands().items():
                _run(["ip", "-n", namespace, "-batch", "-"], commands)
            if self.arm == "relay":
                _run(["ip", "netns", "exec", self.relay, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
            if self.arm == "vlan":  # as a trunk's port: the others have it untagged, by the bridge's default
                tagged = ["dev", "vbox", "vid", str(VLAN)]
                _run(["bridge", "-n", self.lan, "vlan", "del", *tagged])
                _run(["bridge", "-n", self.lan, "vlan", "add", *tagged])
            if self._loss:
                self.set_loss(self._loss)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def set_link(self, state: Literal["up", "down"]) -> None:
        """Take the box's interface down or up, as a pulled cable or `ip link` would; its address stays."""
        _run(["ip", "-n", self.box, "link", "set", "eth0", state])

    def set_loss(self, percent: int) -> None:
        """Lose `percent` of all packets between the box and everyone else, each way; 0 loses none."""
        rules = "table netdev loss\ndelete table netdev loss\n" + LOSS_RULES.format(percent=percent)
        _run(["ip", "netns", "exec", self.lan, "nft", "-f", "-"], rules)

    def set_queue(self, tap: str, frames: int) -> None:
        """Have `tap` keep no more than so many frames that its client has not taken; others are lost."""
        _run(["ip", "-n", self.lan, "link", "set", tap, "txqueuelen", str(frames)])

    def _commands(self) -> dict[str, str]:
        """What `ip -batch` is given, per namespace."""
        # One packet on the wire is one packet to lose: without it a burst of 64 KiB would be lost as a whole.
        single = ["link set eth0 gso_max_segs 1"] if self._loss else []
        addresses = [f"addr add {ROUTER_ADDRESS}/24 dev eth0", f"addr add {ROUTER_ADDRESS_V6}/64 dev eth0 nodad"]
        up = ["link set lo up", "link set eth0 up"]
        back = [f"route add {CLIENTS_NETWORK} via {RELAY_ADDRESS}"] if self.arm == "relay" else []
        own = [f"link add link eth0 name {self.interface} type vlan id {VLAN}", f"link set {self.interface} up"]
        face = [*(own if self.arm == "vlan" else []), f"addr add {BOX_ADDRESS}/24 dev {self.interface}"]
        commands = {
            self.lan: self._cables(),
            self.box: ["link set lo up", *single, "link set eth0 up", *face, *back],
            self.router: [*up, *addresses, *back],
        }
        if self.arm == "relay":
            faces = [f"addr add {CLIENTS_GATEWAY}/24 dev eth1", f"addr add {CLIENTS_GATEWAY_V6}/64 dev eth1 nodad"]
            commands[self.relay] = [*up, f"addr add {RELAY_ADDRESS}/24 dev eth0", "link set eth1 up", *faces]
        elif self.arm == "two-dhcp":
            commands[self.second_router] = [*up, f"addr add {SECOND_ROUTER_ADDRESS}/24 dev eth0"]
        return {namespace: _lines(lines) for namespace, lines in commands.items()}

    def _cables(self) -> list[str]:
        """The bridges, and what is plugged into them: hosts and taps."""
        switch = f" vlan_filtering 1 vlan_default_pvid {VLAN}" if self.arm == "vlan" else ""
        commands = [
            "link set lo up",
            f"link add br0 type bridge {BRIDGE}{switch}",
            "link set br0 up",
            f"addr add {LAN_ADDRESS}/24 dev br0",
        ]
        hosts = {"box": self.box, "router": self.router}
        if self.arm == "relay":
            hosts["relay"] = self.relay
        elif self.arm == "two-dhcp":
            hosts["router2"] = self.second_router
        for host, namespace in hosts.items():
            commands += [
                f"link add v{host} type veth peer name eth0 netns {namespace}",
                f"link set v{host} master br0 up",
            ]
        clients = "br0"
        if self.arm == "relay":
            clients = "br1"
            commands += [
                f"link add br1 type bridge {BRIDGE}",
                "link set br1 up",
                f"link add vclients type veth peer name eth1 netns {self.relay}",
                "link set vclients master br1 up",
            ]
        for number in range(self._taps):
            commands += [f"tuntap add tap{number} mode tap", f"link set tap{number} master {clients} up"]
        return commands

    def _remove(self) -> None:
        listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        present = {line.split()[0] for line in listed.splitlines() if line.strip()}
        for namespace in self.namespaces:
            if namespace in present:
                _run(["ip", "netns", "del", namespace])


def _lines(commands: list[str]) -> str:
    return "".join(f"{command}\n" for command in commands)
