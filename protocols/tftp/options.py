"""What client and server agree on before the first block: RFC 2347, 2348, 2349, 7440.

An option that makes no sense is ignored, never an error (quirks T-3, T-6, T-7, T-21; KIWI sends `blksize 0` and an
empty `multicast`). What is accepted is echoed under the client's own spelling, in the client's order (quirk T-2).
tftp-hpa's rollover says which number follows 65535. Leaves out: multicast (RFC 2090), blksize2 and utimeout.
"""

from dataclasses import dataclass
from enum import StrEnum

from protocols.tftp.wire import Opcode, Options, Request

DEFAULT_BLKSIZE = 512  # RFC 1350
MIN_BLKSIZE = 8  # RFC 2348
MAX_BLKSIZE = 65464  # RFC 2348: 65535 less the IP, UDP and TFTP headers
MAX_TIMEOUT = 255  # seconds, RFC 2349
MAX_WINDOWSIZE = 1 << 14  # far under half the block numbers, so that an ACK can mean only one block of a window
WINDOWSIZE_CEILING = 64  # clients are known to fail beyond (quirk T-7)
WINDOW_BYTES_CEILING = 1 << 20  # a window is held in memory and sent in one go: 1000 transfers stay within 1 GiB
MAX_DIGITS = 20  # of a 64-bit number; longer is no size of anything


class Mode(StrEnum):
    """How the bytes of the file travel; RFC 1350's third, mail, is refused (quirk T-20)."""

    OCTET = "octet"
    NETASCII = "netascii"


@dataclass(frozen=True, slots=True)
class Terms:
    """What both sides use for this transfer; `answer` holds the OACK's options, none when there is no OACK."""

    mode: Mode
    blksize: int
    windowsize: int
    timeout: int | None  # seconds, only when the client asked
    answer: Options
    wrap: int = 0  # the number of the block after 65535


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most that is ever agreed to, and how it is carried out."""

    blksize: int = MAX_BLKSIZE  # KIWI's atftp asks for 65464 on purpose and takes IP fragments: no cap (quirk T-6)
    windowsize: int = WINDOWSIZE_CEILING
    window_bytes: int = WINDOW_BYTES_CEILING
    single_port: bool = False  # the port that was asked, for clients behind NAT that knows no TFTP (quirk T-14)
    wrap: int = 0  # the number after 65535, 0 or 1, where the client's option rollover does not say (quirk T-9)
    rate: int = 0  # bytes a second; 0: as fast as acknowledgements come


def announced_size(request: Request) -> int | None:
    """The `tsize` of a write request in bytes, or None where it says nothing usable."""
    for name, value in request.options:
        if name.lower() == "tsize":
            return _number(value)
    return None


def negotiate(request: Request, mode: Mode, size: int, ceilings: Ceilings) -> Terms:
    """The terms for a request; `size` is the file's, in bytes (of a write request: not used)."""
    asked = _first_of_each(request.options)
    blksize = _blksize(asked, ceilings)
    windowsize = _windowsize(asked, ceilings, mode, blksize or DEFAULT_BLKSIZE)
    timeout = _within(asked.get("timeout"), 1, MAX_TIMEOUT)
    rollover = _within(asked.get("rollover"), 0, 1) if request.opcode is Opcode.RRQ else None
    values = {
        "blksize": blksize,
        "windowsize": windowsize,
        "timeout": timeout,
        "rollover": rollover,
        "tsize": _tsize(asked, mode, size, request.opcode),
    }
    answer: list[tuple[str, str]] = []
    for name, _ in request.options:
        value = values.pop(name.lower(), None)
        if value is not None:
            answer.append((name, str(value)))
    wrap = ceilings.wrap if rollover is None else rollover
    return Terms(mode, blksize or DEFAULT_BLKSIZE, windowsize or 1, timeout, tuple(answer), wrap)


def _first_of_each(options: Options) -> dict[str, str]:
    """RFC 2347 allows an option once; where it comes twice the first counts."""
    return {name.lower(): value for name, value in reversed(options)}


def _blksize(asked: dict[str, str], ceilings: Ceilings) -> int | None:
    wanted = _number(asked.get("blksize"))
    if wanted is None or wanted < MIN_BLKSIZE:
        return None
    return min(wanted, max(ceilings.blksize, MIN_BLKSIZE), MAX_BLKSIZE)


def _windowsize(asked: dict[str, str], ceilings: Ceilings, mode: Mode, blksize: int) -> int | None:
    """None for netascii: its blocks are made one after the other and can't be made again further back."""
    wanted = _number(asked.get("windowsize"))
    if not wanted or mode is Mode.NETASCII:
        return None
    return max(1, min(wanted, ceilings.windowsize, MAX_WINDOWSIZE, ceilings.window_bytes // blksize))


def _tsize(asked: dict[str, str], mode: Mode, size: int, opcode: Opcode) -> int | None:
    """The real size, or None: curl refuses 0 (quirk T-3), and netascii's size is not known beforehand."""
    wanted = _number(asked.get("tsize"))
    if wanted is None or mode is Mode.NETASCII:
        return None
    return wanted if opcode is Opcode.WRQ else size or None


def _within(text: str | None, low: int, high: int) -> int | None:
    number = _number(text)
    return number if number is not None and low <= number <= high else None


def _number(text: str | None) -> int | None:
    if text is None or len(text) > MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return int(text)
