"""A LAN in namespaces for the ProxyDHCP tests: a bridge, our box, the network's own DHCP server, machines on taps."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from pyroute2 import netns

from tests.protocols.network import ip

BOX = "10.77.0.2"
ROUTER = "10.77.0.1"
DHCP_RANGE = "10.77.0.50,10.77.0.250,255.255.255.0,1h"
FORWARDING_SECONDS = 30
numbers = count()


@dataclass(frozen=True)
class Lan:
    """Namespaces `wire` (bridge br0, taps), `box` (eth0 with BOX) and `router` (eth0 with ROUTER); no way out."""

    wire: str

    @property
    def box(self) -> str:
        """The namespace of the box that serves."""
        return f"{self.wire}-box"

    @property
    def router(self) -> str:
        """The namespace of the host with the network's own DHCP server."""
        return f"{self.wire}-router"

    def host(self, name: str, address: str | None = None) -> str:
        """One more host on the bridge, its only interface eth0; gives its namespace."""
        namespace = f"{self.wire}-{name}"
        ip("netns", "add", namespace)
        ip("-n", self.wire, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", self.wire, "link", "set", name, "master", "br0", "up")
        for interface in ("lo", "eth0"):
            ip("-n", namespace, "link", "set", interface, "up")
        if address is not None:
            ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        self._await_forwarding(name)
        return namespace

    def _await_forwarding(self, port: str) -> None:
        """What comes before a thread of the kernel's has told the bridge of the port's carrier is lost."""
        deadline = time.monotonic() + FORWARDING_SECONDS
        while _port_state(self.wire, port) != "forwarding":
            assert time.monotonic() < deadline, f"the bridge's port {port} does not forward"
            time.sleep(0.01)

    def tap(self) -> str:
        """A tap on the bridge for one machine."""
        ip("-n", self.wire, "tuntap", "add", "tap0", "mode", "tap")
        ip("-n", self.wire, "link", "set", "tap0", "master", "br0", "up")
        return "tap0"

    def dhcp_server(self, dnsmasq: str, folder: Path, namespace: str = "") -> tuple[str, ...]:
        """The command that runs a DHCP server which knows nothing of network boot, on the router unless told."""
        words = ["-k", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--interface=eth0", "--pid-file="]
        words += [f"--dhcp-range={DHCP_RANGE}", f"--dhcp-leasefile={folder}/leases", "--user=root", "--no-ping"]
        return ("ip", "netns", "exec", namespace or self.router, dnsmasq, *words, f"--log-facility={folder}/router.log")


def _port_state(namespace: str, port: str) -> str:
    command = ["ip", "-n", namespace, "-details", "-json", "link", "show", "dev", port]
    [link] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return str(link["linkinfo"]["info_slave_data"]["state"])


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets opened in here belong to the namespace, and keep doing so afterwards."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


@contextmanager
def made_lan() -> Iterator[Lan]:
    """Bridge, box and router; removed with every host added."""
    lan = Lan(f"rw-dhcp-{os.getpid()}-{next(numbers)}")
    try:
        ip("netns", "add", lan.wire)
        ip("-n", lan.wire, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        ip("-n", lan.wire, "link", "set", "br0", "up")
        lan.host("box", BOX)
        lan.host("router", ROUTER)
        yield lan
    finally:
        for namespace in netns.listnetns():
            if namespace == lan.wire or namespace.startswith(f"{lan.wire}-"):
                ip("netns", "del", namespace)
