"""What is measured and what is asked for: every cell and every bar, as data."""

from dataclasses import dataclass
from typing import Literal

from deploy.benchmark.fixture import COLD_FILE, COLD_IMAGE, INSIDE_IMAGE, PACKED, PAGE_FILE, PLAIN_FILE, STORED

Metric = Literal["requests", "bytes"]
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Cell:
    """One load, run against every server of its protocol.

    `load` is what the generator is told; `mtu` matters to AoE; `bar` is the least ratio of ours to the best peer.
    `rivals` names cells whose peers count as well: a peer without windows is met in the mode that it has.
    `cpu_bar` is the greatest ratio of our processor time per byte to that of the peer that uses least.
    """

    protocol: str
    name: str
    load: tuple[str, ...]
    metric: Metric
    bar: float
    mtu: int = 1500
    rivals: tuple[str, ...] = ()
    cpu_bar: float | None = None


def _nbd(name: str, connections: int, depth: int, size: int, bar: float, *, sequential: bool = False) -> Cell:
    load = ("--connections", str(connections), "--depth", str(depth), "--size", str(size))
    metric: Metric = "requests" if size < 65536 else "bytes"
    return Cell("nbd", name, (*load, "--sequential") if sequential else load, metric, bar)


def _tftp(clients: int, window: int, bar: float, cpu_bar: float | None = None) -> Cell:
    load = ("--clients", str(clients), "--blksize", "1428", "--windowsize", str(window))
    rivals = tuple(tftp_name(clients, smaller) for smaller in (1, 4) if smaller < window)
    return Cell("tftp", tftp_name(clients, window), load, "bytes", bar, rivals=rivals, cpu_bar=cpu_bar)


def tftp_name(clients: int, window: int) -> str:
    """The name of a TFTP cell."""
    return f"window {window}, {clients} client{'s' if clients > 1 else ''}"


def _aoe(depth: int, sectors: int, bar: float, mtu: int = 1500) -> Cell:
    load = ("--depth", str(depth), "--sectors", str(sectors))
    return Cell("aoe", f"{sectors} sectors, {depth} in flight", load, "requests", bar, mtu=mtu)


def _http(clients: int, bar: float) -> Cell:
    name = f"500 MB file, {clients} client{'s' if clients > 1 else ''}"
    return Cell("http", name, ("--clients", str(clients)), "bytes", bar)


CODECS = ("gzip", "xz", "zstd", "lz4")  # of the images that are read
CROWD_SIZE = 100_000  # names in the folder in which one is looked for


def _read(codec: str, bar: float, python_bar: float) -> tuple[Cell, ...]:
    name = f"{codec}, every file once"
    return (
        Cell("squashfs", name, ("native", codec), "bytes", bar),
        Cell("squashfs", f"{name}, two threads", ("threads", codec), "bytes", 1.8),
        Cell("squashfs", f"{name}, from Python", ("python", codec), "bytes", python_bar),
    )


CELLS = (
    _nbd("4 KiB random, 1x1", 1, 1, 4096, 2.4),
    _nbd("4 KiB random, 1x16", 1, 16, 4096, 1.8),
    _nbd("4 KiB random, 16x4", 16, 4, 4096, 2.8),
    _nbd("4 KiB random, 64x1", 64, 1, 4096, 1.7),
    _nbd("128 KiB sequential, 1x4", 1, 4, 131072, 1.6, sequential=True),
    _nbd("128 KiB sequential, 16x2", 16, 2, 131072, 1.15, sequential=True),
    _nbd("128 KiB random, 64x1", 64, 1, 131072, 1.5),
    _tftp(1, 1, 1.05),
    _tftp(16, 1, 1.3, cpu_bar=0.85),
    _tftp(64, 1, 1.3),
    _tftp(1, 4, 1.0),
    _tftp(16, 4, 2.3, cpu_bar=0.6),
    _tftp(1, 16, 1.1),
    _tftp(16, 16, 3.5, cpu_bar=0.45),
    _aoe(1, 2, 1.05),
    _aoe(16, 2, 1.5),
    _aoe(64, 2, 1.7),
    _aoe(16, 16, 1.5, mtu=9000),
    _http(1, 0.9),
    _http(16, 0.9),
    *_read("gzip", 2.0, 3.0),
    *_read("xz", 1.0, 1.0),
    *_read("zstd", 1.3, 3.0),
    *_read("lz4", 1.3, 3.0),
    Cell("squashfs", "open, find one of 100,000", ("find",), "requests", 20.0),
    Cell("squashfs", "4 KiB random, cached", ("random",), "requests", 0.5),
)


@dataclass(frozen=True, slots=True)
class Crowd:
    """A thousand clients at our own server: what they cost in memory, and in time a request beside ten of them."""

    protocol: str
    option: str  # the generator's option for how many
    load: tuple[str, ...]
    few: int = 10
    many: int = 1000
    memory_bar: int = 128 * MIB  # in all
    client_bar: int = 24 << 10  # a client
    cost_bar: float = 1.15  # time a request with many, over that with few

    @property
    def name(self) -> str:
        """What --cell knows it by."""
        return f"{self.many} clients"


CROWDS = (
    Crowd("nbd", "--connections", ("--size", "4096", "--depth", "1")),
    Crowd("tftp", "--clients", ("--blksize", "1428", "--windowsize", "1")),
)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What a busy client of our own server does to a quiet one, which is measured alone and beside it in turn.

    `cold` is the file of the tree that the busy one reads and whose pages are dropped all the time, if any. `bar` is
    the most that the quiet one's p99 may be of what it is alone, `memory_bar` what the server may hold meanwhile;
    `mtu` matters to AoE.
    """

    protocol: str
    busy_name: str
    quiet: tuple[str, ...]
    busy: tuple[str, ...]
    cold: str | None = None
    bar: float | None = None
    memory_bar: int | None = None
    mtu: int = 1500

    @property
    def name(self) -> str:
        """What --cell knows it by."""
        return f"beside {self.busy_name}"


_NBD_QUIET = ("--connections", "1", "--depth", "1", "--size", "4096")
_TFTP_QUIET = ("--clients", "1", "--blksize", "1428", "--windowsize", "1")
_AOE_QUIET = ("--depth", "1", "--sectors", "2")
_HTTP_QUIET = ("--clients", "1", "--path", f"/{PAGE_FILE}")
_COLD_NBD = ("--export", COLD_IMAGE, "--connections", "1", "--depth", "64", "--size", "4096")
_COLD_TFTP = ("--file", COLD_FILE, "--clients", "1", "--blksize", "1428", "--windowsize", "16")
_COLD_AOE = ("--slot", "2", "--depth", "64", "--sectors", "2")  # in name order, COLD_IMAGE comes second
_COLD_HTTP = ("--path", f"/image/{COLD_IMAGE}", "--clients", "1")
_MUTE_NBD = ("--mute", "--connections", "16", "--depth", "64", "--size", "131072")
_MUTE_TFTP = ("--mute", "--clients", "64", "--blksize", "1428", "--windowsize", "64")
_BULK_NBD = ("--connections", "1", "--depth", "64", "--size", "131072", "--sequential")

NEIGHBOURS = (
    Neighbour("nbd", "64 cold reads in flight", _NBD_QUIET, _COLD_NBD, cold=f"image/{COLD_IMAGE}", bar=2.0),
    Neighbour("nbd", "16 that never read", _NBD_QUIET, _MUTE_NBD, bar=2.0, memory_bar=128 * MIB),
    # No bar: they share a core, and the quiet one waits for the other's turn, some hundred microseconds of copying.
    Neighbour("nbd", "64 reads of 128 KiB in flight", _NBD_QUIET, _BULK_NBD),
    Neighbour("tftp", "a cold file", _TFTP_QUIET, _COLD_TFTP, cold=COLD_FILE, bar=2.0),
    Neighbour("tftp", "64 that acknowledge nothing", _TFTP_QUIET, _MUTE_TFTP, bar=2.0, memory_bar=128 * MIB),
    Neighbour("aoe", "64 cold reads in flight", _AOE_QUIET, _COLD_AOE, cold=f"image/{COLD_IMAGE}", bar=2.0),
    # No bars, as of NBD: the quiet one's frame waits its turn behind the busy one's.
    Neighbour("aoe", "64 reads in flight", _AOE_QUIET, ("--depth", "64", "--sectors", "2")),
    Neighbour("aoe", "64 reads of 8 KiB in flight", _AOE_QUIET, ("--depth", "64", "--sectors", "16"), mtu=9000),
    Neighbour("http", "a cold file", _HTTP_QUIET, _COLD_HTTP, cold=f"image/{COLD_IMAGE}", bar=2.0),
    Neighbour("http", "16 that never read", _HTTP_QUIET, ("--mute", "--clients", "16"), bar=2.0, memory_bar=128 * MIB),
)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Our own server with more pumps, server and load on all cores alike: what is gained over a single pump.

    There is no bar: the load shares the cores with the server, so twice the pumps can't be twice the speed here.
    `load` is run by `processes` generators at once, as one of them has a single thread.
    """

    protocol: str
    name: str
    load: tuple[str, ...]
    metric: Metric
    few: int = 1
    many: int = 2
    processes: int = 2


SCALINGS = (
    Scaling("nbd", "pumps, 4 KiB random, 64x1", ("--connections", "32", "--depth", "1", "--size", "4096"), "requests"),
    Scaling(
        "nbd", "pumps, 128 KiB sequential, 16x2",
        ("--connections", "8", "--depth", "2", "--size", "131072", "--sequential"), "bytes",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storm:
    """Machines that look for a boot server, each once, and how long its offer takes; one without an offer never ends.

    `seconds` is over how long they are spread, None for all at once; `bar` is the most that the p99 may be.
    """

    name: str
    machines: int
    seconds: float | None
    bar: float  # seconds
    protocol: str = "dhcp"

    @property
    def load(self) -> tuple[str, ...]:
        """What the generator is told."""
        spread = () if self.seconds is None else ("--spread", str(self.seconds))
        return ("--machines", str(self.machines), *spread)


STORMS = (
    Storm("1,000 machines within a second", 1000, 1.0, bar=1.0),
    Storm("1,000 machines at once", 1000, None, bar=1.0),
)


@dataclass(frozen=True, slots=True)
class Inside:
    """A file inside an image against the same plain in the tree, both of our own server and in memory, in turn."""

    protocol: str
    name: str
    plain: tuple[str, ...]
    inside: tuple[str, ...]
    bar: float = 0.9


def _inside(protocol: str, option: str, slash: str, load: tuple[str, ...], name: str) -> tuple[Inside, ...]:
    plain = (*load, option, f"{slash}{PLAIN_FILE}")
    return tuple(
        Inside(
            protocol, f"14 MB inside an image, {kind}, {name}", plain,
            (*load, option, f"{slash}image/{INSIDE_IMAGE}/-/{kind}"),
        )
        for kind in (PACKED, STORED)
    )  # fmt: skip


INSIDES = (
    *_inside("tftp", "--file", "", ("--clients", "1", "--blksize", "1428", "--windowsize", "1"), "window 1, 1 client"),
    *_inside(
        "tftp", "--file", "", ("--clients", "16", "--blksize", "1428", "--windowsize", "16"), "window 16, 16 clients"
    ),
    *_inside("http", "--path", "/", ("--clients", "1"), "1 client"),
    *_inside("http", "--path", "/", ("--clients", "16"), "16 clients"),
)

# Whatever can be named.
Item = Cell | Crowd | Neighbour | Scaling | Storm | Inside
EVERYTHING: tuple[Item, ...] = (*CELLS, *CROWDS, *NEIGHBOURS, *SCALINGS, *STORMS, *INSIDES)
