"""DHCP and BOOTP packets as bytes and values (RFC 2131 §2, RFC 2132, RFC 3396, RFC 4578, PXE 2.1 §2.4).

Left out on purpose: option overload (option 52) is neither read nor written, since old ROMs cannot read it
(quirks D-6); padding is written only behind END, since Raspberry Pi ROMs stumble over it elsewhere (D-7).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import lru_cache
from ipaddress import IPv4Address
from struct import Struct

from protocols.errors import WireError

# A packet, offsets in bytes from its start (RFC 2131 §2):
#
#   0  op(1) htype(1) hlen(1) hops(1)
#   4  xid(4)
#   8  secs(2) flags(2)
#  12  ciaddr(4)  the address the client has
#  16  yiaddr(4)  the address the server gives: 0 from a proxy
#  20  siaddr(4)  the server of the next step
#  24  giaddr(4)  the relay, 0 without one
#  28  chaddr(16) of which hlen count
#  44  sname(64)  ends at the first NUL
# 108  file(128)  ends at the first NUL
# 236  63 82 53 63
# 240  options: code(1) length(1) value, ..., END, padding
HEADER = Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
COOKIE = b"\x63\x82\x53\x63"

NO_ADDRESS = "0.0.0.0"
CHADDR_BYTES = 16
SNAME_BYTES = 64
FILE_BYTES = 128
OPTION_BYTES = 255  # what one option's length byte can say; longer values are split (RFC 3396)
MIN_PACKET = 300  # BOOTP's minimum, which some ROMs insist on (RFC 1542 §2.1, quirks D-7)
ADDRESSES_KEPT = 256  # of both spellings: there are eight in each exchange, nearly all of them nobody's or our own
UUID_OPTION_BYTES = 17  # a type byte, always 0, and sixteen of UUID (RFC 4578 §2.3)


class Op(IntEnum):
    """Who speaks (RFC 2131 §2)."""

    REQUEST = 1
    REPLY = 2


class Flag(IntFlag):
    """RFC 2131 §2: the client, or the relay on its behalf, wants the reply as a broadcast."""

    BROADCAST = 0x8000


class MessageType(IntEnum):
    """Values of option 53 (RFC 2132 §9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """The options that are read or written here."""

    PAD = 0
    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN = 15
    VENDOR_SPECIFIC = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    REQUESTED_OPTIONS = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    SERVER_NAME = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RELAY_AGENT = 82
    ARCHITECTURE = 93
    NETWORK_INTERFACE = 94
    CLIENT_UUID = 97
    TFTP_SERVER = 150  # RFC 5859
    IPXE = 175
    END = 255


class PxeOption(IntEnum):
    """Suboptions of option 43 when the vendor class is PXEClient (PXE 2.1 table 2-1)."""

    DISCOVERY_CONTROL = 6
    BOOT_SERVERS = 8
    BOOT_MENU = 9
    MENU_PROMPT = 10
    BOOT_ITEM = 71


class DiscoveryControl(IntFlag):
    """Bits of 43.6 (PXE 2.1 table 2-1)."""

    NO_BROADCAST = 0x01  # do not look for boot servers by broadcast
    NO_MULTICAST = 0x02
    LISTED_SERVERS_ONLY = 0x04  # ask, and believe, only those in 43.8
    USE_BOOT_FILE = 0x08  # load the offer's boot file at once: no prompt, no menu, no boot server discovery


@dataclass(frozen=True, slots=True)
class Packet:
    """One DHCP packet; addresses are dotted text, `sname` and `file` end before their first NUL.

    `chaddr` keeps all sixteen bytes, used or not: clients drop replies that differ in any (quirks D-11).
    """

    op: Op
    xid: int
    options: Mapping[int, bytes] = field(default_factory=dict)
    htype: int = 1
    hlen: int = 6
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: str = NO_ADDRESS
    yiaddr: str = NO_ADDRESS
    siaddr: str = NO_ADDRESS
    giaddr: str = NO_ADDRESS
    chaddr: bytes = bytes(CHADDR_BYTES)
    sname: bytes = b""
    file: bytes = b""

    @property
    def hardware_address(self) -> bytes:
        """The part of chaddr that counts: six bytes on Ethernet, but never assume it (quirks D-10)."""
        return self.chaddr[: self.hlen]

    def number(self, code: Option, size: int) -> int | None:
        """An option's value as an unsigned number of `size` bytes, None when the option is absent.

        Raises: WireError when it has another length.
        """
        value = self.options.get(code)
        if value is None:
            return None
        if len(value) != size:
            raise WireError(f"option {code} has {len(value)} bytes, not {size}")
        return int.from_bytes(value, "big")

    def address(self, code: Option) -> str | None:
        """An option's value as an IPv4 address, None when the option is absent.

        Raises: WireError when it is not four bytes long.
        """
        value = self.number(code, 4)
        return None if value is None else _dotted(value.to_bytes(4, "big"))


def parse_packet(data: bytes) -> Packet:
    """Read one datagram; what follows END is padding and is not looked at. A missing END is forgiven.

    Raises: WireError when it is shorter than the header, is no request or reply, claims a hardware address of
    more than sixteen bytes, lacks the magic cookie, or has an option that runs past the end. RFC 2131 §2.
    """
    if len(data) < HEADER.size:
        raise WireError(f"a DHCP packet has at least {HEADER.size} bytes", len(data))
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, cookie = (
        HEADER.unpack_from(data)
    )
    if op not in (Op.REQUEST, Op.REPLY):
        raise WireError(f"op {op} is neither request nor reply", 0)
    if hlen > CHADDR_BYTES:
        raise WireError(f"a hardware address of {hlen} bytes does not fit in chaddr", 2)
    if cookie != COOKIE:
        raise WireError("no DHCP magic cookie", HEADER.size - len(COOKIE))
    return Packet(
        op=Op(op),
        xid=xid,
        options=parse_options(data, HEADER.size),
        htype=htype,
        hlen=hlen,
        hops=hops,
        secs=secs,
        flags=flags,
        ciaddr=_dotted(ciaddr),
        yiaddr=_dotted(yiaddr),
        siaddr=_dotted(siaddr),
        giaddr=_dotted(giaddr),
        chaddr=chaddr,
        sname=sname.partition(b"\0")[0],
        file=file.partition(b"\0")[0],
    )


def build_packet(packet: Packet) -> bytes:
    """One datagram of at least 300 bytes, END before any padding; options in the order of the mapping.

    Raises: ValueError when sname or file would fill its field to the last byte: some ROMs read on until a NUL
    (quirks D-5). RFC 2131 §2.
    """
    if len(packet.sname) >= SNAME_BYTES or len(packet.file) >= FILE_BYTES:
        raise ValueError("sname and file need room for a NUL at their end")
    header = HEADER.pack(
        packet.op,
        packet.htype,
        packet.hlen,
        packet.hops,
        packet.xid,
        packet.secs,
        packet.flags,
        _packed(packet.ciaddr),
        _packed(packet.yiaddr),
        _packed(packet.siaddr),
        _packed(packet.giaddr),
        packet.chaddr,
        packet.sname,
        packet.file,
        COOKIE,
    )
    return (header + build_options(packet.options)).ljust(MIN_PACKET, b"\0")


def parse_options(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Options, or the suboptions inside option 43 or 175, from `start` to END or the end of `data`.

    An option that comes in several pieces is joined (RFC 3396 §7).
    Raises: WireError when an option's length runs past the end. RFC 2132 §2.
    """
    options: dict[int, bytes] = {}
    at = start
    while at < len(data):
        code = data[at]
        if code == Option.END:
            break
        if code == Option.PAD:
            at += 1
            continue
        if at + 2 > len(data):
            raise WireError(f"option {code} has no length", at)
        end = at + 2 + data[at + 1]
        if end > len(data):
            raise WireError(f"option {code} runs past the end", at)
        options[code] = options.get(code, b"") + data[at + 2 : end]
        at = end
    return options


def build_options(options: Mapping[int, bytes]) -> bytes:
    """Options in the order of the mapping, long values in several pieces, and END (RFC 2132 §2, RFC 3396 §6)."""
    out = bytearray()
    for code, value in options.items():
        if len(value) <= OPTION_BYTES:  # as nearly all have
            out += bytes((code, len(value)))
            out += value
            continue
        for at in range(0, len(value), OPTION_BYTES):
            piece = value[at : at + OPTION_BYTES]
            out += bytes((code, len(piece))) + piece
    out.append(Option.END)
    return bytes(out)


def parse_user_classes(value: bytes) -> tuple[bytes, ...]:
    """Option 77: classes with a length byte before each (RFC 3004 §4), or one bare string, as some iPXE builds send.

    Both forms are in the field (quirks D-12): what does not divide evenly into classes is taken as a bare string.
    """
    classes: list[bytes] = []
    at = 0
    while at < len(value):
        end = at + 1 + value[at]
        if end == at + 1 or end > len(value):
            return (value,)
        classes.append(value[at + 1 : end])
        at = end
    return tuple(classes)


def parse_architectures(value: bytes) -> tuple[int, ...]:
    """Option 93: one or more 16-bit architecture numbers, most wanted first (RFC 4578 §2.1).

    Raises: WireError when it is empty or has half a number.
    """
    if not value or len(value) % 2:
        raise WireError(f"option 93 has {len(value)} bytes, not one or more pairs")
    return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2))


@lru_cache(ADDRESSES_KEPT)
def _dotted(address: bytes) -> str:
    return str(IPv4Address(address))


@lru_cache(ADDRESSES_KEPT)
def _packed(address: str) -> bytes:
    return IPv4Address(address).packed
