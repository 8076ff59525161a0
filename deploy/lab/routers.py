"""The hosts of the lab's LAN that are not ours: plain DHCP servers as home routers have them, and a DHCP relay."""

from pathlib import Path

from deploy.lab.network import BOX_ADDRESS, CLIENTS_GATEWAY, ROUTER_ADDRESS, Network

RANGE = "10.77.0.50,10.77.0.250,255.255.255.0,1h"
HALVES = ("10.77.0.50,10.77.0.149,255.255.255.0,1h", "10.77.0.150,10.77.0.250,255.255.255.0,1h")  # of two servers
CLIENTS_RANGE = "10.78.0.50,10.78.0.250,255.255.255.0,1h"  # behind the relay
ADVERTISED_PREFIX = "fd00:77::,ra-only,64,1h"
CLIENTS_PREFIX = "fd00:78::,ra-only,64,1h"


def router_commands(network: Network, folder: Path) -> list[tuple[str, list[str]]]:
    """What runs beside the boot server: namespace and command of each; their logs and leases are in `folder`."""
    if network.arm == "relay":
        return [
            (network.router, _server(folder / "router", [CLIENTS_RANGE, RANGE])),
            (network.relay, _relay(folder / "relay")),
        ]
    if network.arm == "two-dhcp":
        return [
            (network.router, [*_server(folder / "router", [HALVES[0]]), *_advertising(ADVERTISED_PREFIX)]),
            (network.second_router, _server(folder / "router2", [HALVES[1]])),
        ]
    if network.arm == "same-host":
        return [
            (network.box, _server(folder / "router", [RANGE])),
            (network.router, [*_dnsmasq(folder / "router2"), "--interface=eth0", *_advertising(ADVERTISED_PREFIX)]),
        ]
    if network.arm == "own-dhcp":  # a router as ever, which advertises itself, and gives no addresses
        return [(network.router, [*_dnsmasq(folder / "router"), "--interface=eth0", *_advertising(ADVERTISED_PREFIX)])]
    # Named as next server, without a boot file: what the README asks of a LAN whose machines boot by shim.
    named = [f"--dhcp-boot=,,{BOX_ADDRESS}", "--no-ping"] if network.arm == "next-server" else []
    return [(network.router, [*_server(folder / "router", [RANGE]), *_advertising(ADVERTISED_PREFIX), *named])]


def _dnsmasq(log: Path) -> list[str]:
    return [
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--pid-file="),
        f"--log-facility={log}.log",
        *("--user=root", "--group=root"),  # a change of either would undo the kernel's promise to end it with us
    ]


def _server(log: Path, ranges: list[str]) -> list[str]:
    """Addresses, and nothing about booting."""
    words = [f"--dhcp-range={each}" for each in ranges]
    return [*_dnsmasq(log), "--bind-interfaces", "--interface=eth0", *words, f"--dhcp-leasefile={log}.leases"]


def _advertising(prefix: str) -> list[str]:
    return ["--enable-ra", f"--dhcp-range={prefix}"]


def _relay(log: Path) -> list[str]:
    """What clients broadcast goes to both servers, the plain one and the box."""
    relays = [f"--dhcp-relay={CLIENTS_GATEWAY},{server}" for server in (ROUTER_ADDRESS, BOX_ADDRESS)]
    return [*_dnsmasq(log), "--interface=eth0", "--interface=eth1", *relays, *_advertising(CLIENTS_PREFIX)]
