"""Ethernet addresses as text and bytes, and raw sockets: what every room that sees frames shares."""

import contextlib
import ctypes
import socket
import struct

MAC_BYTES = 6  # an IEEE 802 address
BROADCAST = b"\xff" * MAC_BYTES
HEADER_BYTES = 14  # destination, source, ethertype; an 802.1Q tag never shows: the kernel takes it off
PACKET_BUFFER = 4 << 20  # bytes, each way; 200 machines with 16 requests each wait in it while the loop is busy

# linux/socket.h and linux/filter.h; Python's socket module names none of them
SO_ATTACH_FILTER = 26
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
SKF_AD_PKTTYPE = 0xFFFFF000 + 4  # where a filter finds skb->pkt_type
LOAD_BYTE, JUMP_IF_GREATER, RETURN = 0x30, 0x25, 0x06  # BPF_LD|BPF_B|BPF_ABS, BPF_JMP|BPF_JGT|BPF_K, BPF_RET|BPF_K

# linux/if_packet.h
SOL_PACKET = 263
PACKET_FANOUT = 18
PACKET_FANOUT_DATA = 22
PACKET_FANOUT_CBPF = 6
PACKET_FANOUT_FLAG_UNIQUEID = 0x2000  # the kernel finds a number for the group
SKF_LL_OFF = 0xFFE00000  # where a filter finds the frame's own header
LOAD_WORD, MULTIPLY, SHIFT_RIGHT, RETURN_A = 0x20, 0x24, 0x74, 0x16  # BPF_LD|BPF_W|BPF_ABS, BPF_ALU|..., BPF_RET|BPF_A

Program = list[tuple[int, int, int, int]]  # classic BPF: code, jump if true, jump if false, operand

# Which socket of a group a frame goes to: by the last four bytes of its sender, mixed (Knuth's multiplicative hash),
# since machines bought together have MACs in a row, and often of one parity. The kernel takes it modulo the group.
BY_SOURCE: Program = [
    (LOAD_WORD, 0, 0, SKF_LL_OFF + 8),
    (MULTIPLY, 0, 0, 2654435761),
    (SHIFT_RIGHT, 0, 0, 16),
    (RETURN_A, 0, 0, 0),
]

# Only frames to this host, to everyone or to a group pass. PACKET_OTHERHOST stays outside: what a promiscuous port
# (tcpdump, a bridge) picks up for others, and frames with a VLAN tag that no interface of ours has, which the kernel
# hands to the parent interface untagged but marked so (net/core/dev.c, __netif_receive_skb_core): quirks A-7.
FOR_US_ONLY: Program = [
    (LOAD_BYTE, 0, 0, SKF_AD_PKTTYPE),
    (JUMP_IF_GREATER, 1, 0, socket.PACKET_MULTICAST),
    (RETURN, 0, 0, 0xFFFFFFFF),
    (RETURN, 0, 0, 0),
]


def format_mac(address: bytes) -> str:
    """Six bytes as lower-case text with colons. Raises: ValueError when there are not six."""
    if len(address) != MAC_BYTES:
        raise ValueError(f"a MAC address has {MAC_BYTES} bytes, not {len(address)}")
    return address.hex(":")


def parse_mac(text: str) -> bytes:
    """Six bytes from text with colons, dashes, dots or nothing between its twelve hex digits, in either case.

    Raises: ValueError when the text is no MAC address.
    """
    digits = text.translate({ord(separator): None for separator in ":-."})
    if len(digits) != 2 * MAC_BYTES:
        raise ValueError(f"{text!r} is no MAC address")
    return bytes.fromhex(digits)


def is_station(address: bytes) -> bool:
    """Whether six bytes can be one machine's own address: neither a group's nor all zeros (IEEE 802 §8.2)."""
    return not address[0] & 1 and any(address)


def packet_socket(interface: str, ethertype: int, program: Program = FOR_US_ONLY) -> socket.socket:
    """A non-blocking raw socket that sees whole frames of one ethertype, addressed to us, on one interface.

    It never sees frames this machine sends: the kernel shows those to sockets of all ethertypes only.
    `program` is for one that takes fewer frames yet: it has to refuse those for others, too.
    Needs CAP_NET_RAW. Raises: OSError as socket and bind do (EPERM, ENODEV).
    """
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        attach_filter(sock, program)  # before bind, so that no frame slips past it
        enlarge_buffers(sock)
        sock.bind((interface, ethertype))
    except OSError:
        sock.close()
        raise
    return sock


def attach_filter(sock: socket.socket, program: Program) -> None:
    """Give a socket a classic BPF program of (code, jump if true, jump if false, operand)."""
    set_program(sock, socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def set_program(sock: socket.socket, level: int, option: int, program: Program) -> None:
    """Set a socket option that takes a classic BPF program."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    held = ctypes.create_string_buffer(code)  # setsockopt copies it; it has to live until then
    sock.setsockopt(level, option, struct.pack("@HP", len(program), ctypes.addressof(held)))


def share_by_source(sockets: list[socket.socket]) -> None:
    """Make packet sockets of one interface that is up a group: each frame goes to one of them, by its sender.

    A sender's frames all go to the same one, as long as the group stays as it is. Raises: OSError as setsockopt does.
    """
    kind = PACKET_FANOUT_CBPF | PACKET_FANOUT_FLAG_UNIQUEID
    number = 0
    for sock in sockets:
        sock.setsockopt(SOL_PACKET, PACKET_FANOUT, number | kind << 16)
        kind = PACKET_FANOUT_CBPF
        number = sock.getsockopt(SOL_PACKET, PACKET_FANOUT) & 0xFFFF
    set_program(sockets[0], SOL_PACKET, PACKET_FANOUT_DATA, BY_SOURCE)


def enlarge_buffers(sock: socket.socket) -> None:
    """Raise both socket buffers, past the system's limit where we may."""
    for plain, forced in ((socket.SO_RCVBUF, SO_RCVBUFFORCE), (socket.SO_SNDBUF, SO_SNDBUFFORCE)):
        sock.setsockopt(socket.SOL_SOCKET, plain, PACKET_BUFFER)
        with contextlib.suppress(PermissionError):  # CAP_NET_RAW alone may not; the system's limit stands then
            sock.setsockopt(socket.SOL_SOCKET, forced, PACKET_BUFFER)
