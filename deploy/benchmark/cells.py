"""What is measured and what is asked for: every cell and every bar, as data."""

from dataclasses import dataclass
from typing import Literal

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


CROWDS = (
    Crowd("nbd", "--connections", ("--size", "4096", "--depth", "1")),
    Crowd("tftp", "--clients", ("--blksize", "1428", "--windowsize", "1")),
)
