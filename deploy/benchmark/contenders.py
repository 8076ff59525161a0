"""The servers: how each is started on an address of its own, as its own documentation would have it for speed."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.benchmark import generators
from deploy.benchmark.arithmetic import FLOOR, OURS
from deploy.benchmark.errors import BenchmarkError
from deploy.benchmark.fixture import BOOT_FILE, IMAGE, Fixture

ROOTWIRE = Path(sys.executable).with_name("rootwire")  # of the same .venv
PLACES = ("usr/sbin", "usr/bin", "sbin", "bin")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server serves: what, in which namespace, at which address, and where unpacked packages are."""

    fixture: Fixture
    namespace: str
    address: str
    interface: str
    packages: Path

    def program(self, name: str) -> str:
        """A program's path: unpacked for the benchmark, or installed. Raises: BenchmarkError when it is neither."""
        for root in (self.packages, Path("/")):
            for place in PLACES:
                if (path := root / place / name).exists():
                    return str(path)
        raise BenchmarkError(f"{name} is missing: run sudo deploy/bench")

    def file(self, name: str, text: str) -> str:
        """A configuration file, written; its path."""
        path = self.fixture.run / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True, slots=True)
class Contender:
    """A server of one protocol, and its Debian package, None for those of this repository.

    `command` is made for its place; `target` is its AoE shelf and slot.
    """

    name: str
    command: Callable[[Place], list[str]]
    package: str | None = None
    target: tuple[int, int] = (0, 1)


def _rootwire(*more: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        fixture = place.fixture
        socket = f"/run/{place.namespace}.sock"
        return [
            *(str(ROOTWIRE), "serve", "--interface", place.interface, "--address", place.address),
            *("--root", str(fixture.tree), "--config", str(fixture.config), "--socket", socket, *more),
        ]

    return command


def _nbdkit(*more: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        program = Path(place.program("nbdkit"))
        plugins = sorted(program.parents[1].glob("lib/*/nbdkit/plugins/nbdkit-file-plugin.so"))
        if not plugins:
            raise BenchmarkError("nbdkit's file plugin is missing: run sudo deploy/bench")
        where = ("-f", "-r", "-i", place.address, "-p", "10809", *more)
        return [str(program), *where, str(plugins[0]), f"file={place.fixture.image}"]

    return command


def _qemu_nbd(place: Place) -> list[str]:
    where = ("-b", place.address, "-p", "10809", "-x", IMAGE)
    return [place.program("qemu-nbd"), "-r", "-f", "raw", "-t", "-e", "1024", *where, str(place.fixture.image)]


def _nbd_server(place: Place) -> list[str]:
    text = (
        f"[generic]\nlistenaddr = {place.address}\nport = 10809\nallowlist = true\n"
        f"[{IMAGE}]\nexportname = {place.fixture.image}\nreadonly = true\n"
    )
    pid = place.fixture.run / "nbd-server.pid"
    return [place.program("nbd-server"), "-C", place.file("nbd-server.conf", text), "-p", str(pid)]


def _dnsmasq(place: Place) -> list[str]:
    return [
        *(place.program("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground", "--port=0", "--user=root"),
        *("--enable-tftp", f"--tftp-root={place.fixture.tree}", "--tftp-max=2000", "--bind-interfaces"),
        *(f"--listen-address={place.address}", "--pid-file=", "--log-facility=/dev/null"),
    ]


def _proxy_dnsmasq(place: Place) -> list[str]:
    """Offers and no addresses, as the appliance; each offer is logged by both."""
    network = place.address.rpartition(".")[0] + ".0"
    return [
        *(place.program("dnsmasq"), "--conf-file=/dev/null", "--keep-in-foreground", "--port=0", "--user=root"),
        *("--bind-interfaces", f"--interface={place.interface}", f"--dhcp-range={network},proxy", "--pid-file="),
        *("--pxe-service=X86-64_EFI,boot,snponly.efi", f"--log-facility={place.fixture.run}/dnsmasq.log"),
    ]


def _tftpd_hpa(place: Place) -> list[str]:
    where = ("-a", f"{place.address}:69", "-s", str(place.fixture.tree))
    return [place.program("in.tftpd"), "--foreground", "--listen", "-u", "root", *where]


def _atftpd(place: Place) -> list[str]:
    who = ("--user", "root", "--group", "root", "--maxthread", "2000", "--logfile", "/dev/null")
    where = ("--port", "69", "--bind-address", place.address, str(place.fixture.tree))
    return [place.program("atftpd"), "--daemon", "--no-fork", *who, *where]


def _floor(source: str, file: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        program = generators.build(source, place.packages.with_name("generators"))
        return [str(program), "--address", place.address, "--file", str(place.fixture.tree / file)]

    return command


def _vblade(place: Place) -> list[str]:
    return [place.program("vblade"), "-r", "1", "1", place.interface, str(place.fixture.image)]


def _nginx(place: Place) -> list[str]:
    run = place.fixture.run
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"  {kind}_temp_path {run}/nginx;\n" for kind in kinds)
    text = (
        f"user root;\ndaemon off;\nworker_processes 1;\npid {run}/nginx.pid;\nerror_log {run}/nginx.log;\n"
        "events { worker_connections 2048; }\nhttp {\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n"
        f"  keepalive_requests 1000000;\n{paths}"
        f"  server {{ listen {place.address}:80; root {place.fixture.tree}; }}\n}}\n"
    )
    return [place.program("nginx"), "-p", str(run), "-e", f"{run}/nginx.log", "-c", place.file("nginx.conf", text)]


_OURS = Contender(OURS, _rootwire())

# Ours first; the others in the order of the table's columns.
CONTENDERS: dict[str, tuple[Contender, ...]] = {
    "nbd": (
        _OURS,
        Contender("nbdkit", _nbdkit(), "nbdkit"),
        Contender("nbdkit -t 1", _nbdkit("-t", "1"), "nbdkit"),
        Contender("qemu-nbd", _qemu_nbd, "qemu-utils"),
        Contender("nbd-server", _nbd_server, "nbd-server"),
        Contender(FLOOR, _floor("floor_nbd", f"image/{IMAGE}")),
    ),
    "tftp": (
        _OURS,
        Contender("dnsmasq", _dnsmasq, "dnsmasq-base"),
        Contender("tftpd-hpa", _tftpd_hpa, "tftpd-hpa"),
        Contender("atftpd", _atftpd, "atftpd"),
        Contender(FLOOR, _floor("floor_tftp", BOOT_FILE)),
    ),
    "aoe": (_OURS, Contender("vblade", _vblade, "vblade", target=(1, 1))),
    "http": (_OURS, Contender("nginx", _nginx, "nginx")),
    "dhcp": (_OURS, Contender("dnsmasq", _proxy_dnsmasq, "dnsmasq-base")),
}


def alone(protocol: str) -> tuple[Contender, ...]:
    """Ours and nobody else."""
    return CONTENDERS[protocol][:1]


def with_floor(protocol: str) -> tuple[Contender, ...]:
    """Ours, and its protocol's limit."""
    return tuple(contender for contender in CONTENDERS[protocol] if contender.name in (OURS, FLOOR))


def with_pumps(number: int) -> Contender:
    """Ours, with so many pumps for each protocol."""
    return Contender(f"{OURS}, --pumps {number}", _rootwire("--pumps", str(number)))


# What every generator is told beside the cell's load: what to ask for.
SUBJECT: dict[str, tuple[str, ...]] = {
    "nbd": ("--export", IMAGE),
    "tftp": ("--file", BOOT_FILE),
    "aoe": (),
    "http": ("--path", f"/image/{IMAGE}"),
    "dhcp": (),
}

# The protocols of machines without an address: each server has a cable of its own, the generator the other end of it.
CABLED = ("aoe", "dhcp")

# Of what every server sends in a cell, a sample is compared with this file of the tree.
SAMPLED: dict[str, str] = {"tftp": BOOT_FILE, "aoe": f"image/{IMAGE}"}
