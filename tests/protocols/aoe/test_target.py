"""One target's state, without any socket."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.aoe import wire
from protocols.aoe.target import Flush, Identify, Read, Reply, TargetSession, Write, completed, failed
from protocols.aoe.wire import AtaArgument, AtaError, AtaFlag, Command, ErrorCode, Flag, Header
from protocols.errors import SessionError, WireError
from protocols.ethernet import parse_mac

MAC, OTHER = "52:54:00:77:00:01", "52:54:00:77:00:02"
HEADER = Header(bytes(6), parse_mac(MAC), 1, Flag(0), 0, 0, 1, Command.ATA, 7)


def session(**changes: Any) -> TargetSession:
    """A writable disk of 100 sectors at e0.1."""
    facts: dict[str, Any] = {"sectors": 100, "writable": True, "label": "root", "buffers": 16, "mtu": 1500}
    return TargetSession(0, 1, **facts | changes)


def ata(command: int, lba: int = 0, sectors: int = 1, data: bytes = b"") -> bytes:
    """An ATA argument."""
    return wire.build_ata(AtaArgument(AtaFlag(0), 0, sectors, command, lba)) + data


def ask_ata(target: TargetSession, argument: bytes, mac: str = MAC) -> object:
    """What the target makes of an ATA argument."""
    return target.answer(mac, HEADER, argument)


def registers(outcome: object) -> tuple[int, int]:
    """Status and error of a reply."""
    assert isinstance(outcome, Reply)
    found = wire.parse_ata(b"".join(bytes(part) for part in outcome.parts))
    return found.command, found.feature


def config(target: TargetSession, command: int, string: bytes = b"") -> wire.ConfigArgument | None:
    """What the target answers to a configuration command, None for silence."""
    argument = wire.build_config(wire.ConfigArgument(0, 0, 0, 1, command, string))
    outcome = target.answer(MAC, replace(HEADER, command=Command.CONFIG), argument)
    assert outcome is None or isinstance(outcome, Reply)
    return None if outcome is None else wire.parse_config(bytes(outcome.parts[0]))


def mask(target: TargetSession, command: int, *directives: tuple[int, str]) -> bytes:
    """The raw answer to a mask command."""
    steps = [wire.Directive(step, parse_mac(mac)) for step, mac in directives]
    outcome = target.answer(
        MAC, replace(HEADER, command=Command.MASK), wire.build_mask(wire.MaskArgument(command, 0, steps))
    )
    assert isinstance(outcome, Reply)
    return bytes(outcome.parts[0])


def reserve(target: TargetSession, command: int, *macs: str, by: str = MAC) -> list[bytes]:
    """The list that a reserve command is answered with."""
    argument = wire.build_reserve(wire.ReserveArgument(command, [parse_mac(mac) for mac in macs]))
    outcome = target.answer(by, replace(HEADER, command=Command.RESERVE), argument)
    assert isinstance(outcome, Reply)
    return wire.parse_reserve(outcome.parts[0]).addresses


def refusal(target: TargetSession, header: Header, argument: bytes, mac: str = MAC) -> int:
    """The error code a request is refused with."""
    with pytest.raises(SessionError) as caught:
        target.answer(mac, header, argument)
    return caught.value.reply_code


# ATA


def test_identify_brings_the_data_block() -> None:
    """512 bytes with the size in them; any sector count will do."""
    outcome = ask_ata(session(sectors=12345), ata(0xEC))
    assert isinstance(outcome, Identify)
    assert len(outcome.data) == 512
    assert int.from_bytes(outcome.data[200:208], "little") == 12345


@pytest.mark.parametrize(("command", "high"), [(0x20, 0xE0), (0x24, 0)])
def test_reads_name_their_bytes(command: int, high: int) -> None:
    """28 bits, with the driver's 0xE0 in the upper nibble, and 48."""
    outcome = ask_ata(session(), ata(command, 98 | high << 24, 2))
    assert isinstance(outcome, Read)
    assert (outcome.offset, outcome.length) == (98 * 512, 1024)


def test_48_bits_reach_further_than_28() -> None:
    """The same registers, read as 48 bits, are past the end of the disk."""
    assert registers(ask_ata(session(), ata(0x24, 98 | 0xE0 << 24, 2))) == (0x41, AtaError.IDNF)
    far = ask_ata(session(sectors=2**40), ata(0x24, 2**40 - 1))
    assert isinstance(far, Read)
    assert far.offset == (2**40 - 1) * 512


@pytest.mark.parametrize("command", [0x30, 0x34])
def test_writes_carry_their_bytes(command: int) -> None:
    """As many as the sectors say, without what Ethernet put behind."""
    outcome = ask_ata(session(), ata(command, 99, 1, b"w" * 512 + bytes(6)))
    assert isinstance(outcome, Write)
    assert (outcome.offset, bytes(outcome.data)) == (99 * 512, b"w" * 512)


@pytest.mark.parametrize("command", [0x20, 0x24, 0x30, 0x34])
def test_a_range_past_the_end_is_not_found(command: int) -> None:
    """IDNF with ERR: an answer, so the initiator does not try for three minutes."""
    outcome = ask_ata(session(), ata(command, 99, 2, bytes(1024)))
    assert registers(outcome) == (0x41, AtaError.IDNF)


def test_a_transfer_of_nothing_is_nothing() -> None:
    """Sector count 0 is not 256 here: no frame holds those."""
    outcome = ask_ata(session(), ata(0x20, 100, 0))
    assert isinstance(outcome, Read)
    assert outcome.length == 0


@pytest.mark.parametrize("command", [0x20, 0x34])
def test_more_than_a_frame_holds_is_a_bad_argument(command: int) -> None:
    """Two sectors at MTU 1500, seventeen at 9000."""
    target = session()
    argument = ata(command, 0, 3, bytes(1536))
    assert refusal(target, HEADER, argument) == ErrorCode.BAD_ARGUMENT
    target.fit(9000)
    assert isinstance(ask_ata(target, argument), Read | Write)


def test_a_write_with_too_few_bytes_is_a_bad_argument() -> None:
    """One byte is missing."""
    assert refusal(session(), HEADER, ata(0x30, 0, 1, bytes(511))) == ErrorCode.BAD_ARGUMENT


def test_a_read_only_target_aborts_writes() -> None:
    """ABRT, wherever they go."""
    for lba in (0, 1000):
        assert registers(ask_ata(session(writable=False), ata(0x34, lba, 1, bytes(512)))) == (0x41, AtaError.ABRT)


@pytest.mark.parametrize("command", [0xE7, 0xEA])
def test_flushes_are_passed_on(command: int) -> None:
    """Both forms."""
    assert isinstance(ask_ata(session(), ata(command)), Flush)


@pytest.mark.parametrize("command", [0x00, 0xB0, 0xE5, 0xEF])
def test_other_commands_are_aborted(command: int) -> None:
    """SMART, power modes, features."""
    assert registers(ask_ata(session(), ata(command))) == (0x41, AtaError.ABRT)


def test_success_leaves_no_sectors_and_no_error() -> None:
    """DRDY alone, the address as it came, the data behind."""
    asked = AtaArgument(AtaFlag.EXTENDED, 9, 2, 0x24, 0x010203)
    reply = completed(asked, b"data")
    assert wire.parse_ata(bytes(reply.parts[0])) == AtaArgument(AtaFlag.EXTENDED, 0, 0, 0x40, 0x010203)
    assert reply.parts[1] == b"data"
    assert registers(failed(asked, AtaError.UNC)) == (0x41, 0x40)


@pytest.mark.parametrize("header", [replace(HEADER, shelf=0xFFFF), replace(HEADER, slot=0xFF)])
def test_ata_to_a_wildcard_is_refused(header: Header) -> None:
    """A write to every disk at once is never meant."""
    assert refusal(session(), header, ata(0x30, 0, 1, bytes(512))) == ErrorCode.BAD_ARGUMENT


# Configuration


def test_config_tells_what_the_target_can_do() -> None:
    """Buffers, sectors of this MTU, version, the command as asked."""
    assert config(session(), 0) == wire.ConfigArgument(16, 1, 2, 1, 0, b"")
    assert config(session(mtu=9000, buffers=64), 0) == wire.ConfigArgument(64, 1, 17, 1, 0, b"")


def test_a_config_string_is_set_once() -> None:
    """When empty; the same again is a repeat; another is error 4."""
    target = session()
    for _ in range(2):
        answer = config(target, 3, b"mine")
        assert answer is not None
        assert (answer.command, answer.string) == (3, b"mine")
    with pytest.raises(SessionError) as caught:
        config(target, 3, b"yours")
    assert caught.value.reply_code == ErrorCode.CONFIG_STRING_PRESENT


def test_a_config_string_is_forced() -> None:
    """Over another, and away."""
    target = session()
    for string in (b"one", b"x" * 1024, b""):
        answer = config(target, 4, string)
        assert answer is not None
        assert answer.string == string


@pytest.mark.parametrize(
    ("command", "string", "matches"),
    [
        (1, b"mine", True),
        (1, b"min", False),
        (1, b"mine!", False),
        (2, b"", True),
        (2, b"min", True),
        (2, b"ine", False),
    ],
)
def test_a_config_test_is_answered_only_when_it_holds(command: int, string: bytes, matches: bool) -> None:
    """The whole string, or its start; else silence."""
    target = session()
    config(target, 4, b"mine")
    assert (config(target, command, string) is not None) is matches


def test_an_unknown_config_command_is_a_bad_argument() -> None:
    """Five and up."""
    argument = wire.build_config(wire.ConfigArgument(0, 0, 0, 1, 5, b""))
    assert refusal(session(), replace(HEADER, command=Command.CONFIG), argument) == ErrorCode.BAD_ARGUMENT


# MAC mask


def test_without_a_mask_everyone_is_admitted() -> None:
    """And with one only its members."""
    assert session().admits(OTHER)
    masked = session(allowed=[MAC.upper()])
    assert masked.admits(MAC)
    assert not masked.admits(OTHER)
    assert masked.mask == [MAC]


def test_a_mask_is_edited_in_order() -> None:
    """Add, add again, add another, delete, delete what is not there; the answer is the list."""
    target = session()
    answer = mask(target, 1, (1, MAC), (1, MAC), (1, OTHER), (0, OTHER), (2, MAC), (2, MAC))
    assert wire.parse_mask(answer) == wire.MaskArgument(1, 0, [wire.Directive(0, parse_mac(OTHER))])
    assert wire.parse_mask(mask(target, 0)).directives == [wire.Directive(0, parse_mac(OTHER))]


def test_a_private_target_lets_nobody_else_in_whatever_its_mask_is_told() -> None:
    target = session(allowed=[MAC])
    assert mask(target, 1, (1, OTHER)) == bytes([0, 1, 1, 0])  # MERROR 1, no directive was followed
    mask(target, 1, (2, MAC))
    assert target.mask == [MAC]  # an empty list would admit everyone
    assert target.admits(MAC)
    assert not target.admits(OTHER)


def test_a_mask_narrows_whom_a_target_is_shared_by() -> None:
    target = session(allowed=[MAC, OTHER])
    mask(target, 1, (2, OTHER))
    assert target.mask == [MAC]
    assert mask(target, 1, (1, OTHER))[2] == 0
    assert target.mask == [MAC, OTHER]


def test_a_target_that_is_everybodys_is_nobodys_to_mask_or_reserve() -> None:
    """Nothing is added, deleted or reserved, forced or not; an edit without directives is as good as reading."""
    target = session(claimable=False)
    for directive in (1, 2):
        assert mask(target, 1, (directive, MAC)) == bytes([0, 1, 1, 0])
    assert mask(target, 1) == bytes([0, 1, 0, 0])
    for command in (1, 2):
        argument = wire.build_reserve(wire.ReserveArgument(command, [parse_mac(MAC)]))
        assert refusal(target, replace(HEADER, command=Command.RESERVE), argument) == ErrorCode.BAD_COMMAND
    assert reserve(target, 0) == []
    assert target.mask == []


def test_reading_a_mask_edits_nothing() -> None:
    """Directives that come along are not looked at."""
    target = session()
    mask(target, 0, (1, MAC))
    assert target.mask == []


def test_a_bad_directive_says_how_far_it_got() -> None:
    """Error 2, and the ones before hold."""
    target = session()
    assert mask(target, 1, (1, MAC), (9, OTHER), (1, OTHER)) == bytes([0, 1, 2, 1])
    assert target.mask == [MAC]


def test_a_full_mask_takes_no_more() -> None:
    """255 entries; one of them again is fine, another is error 3."""
    members = [f"02:00:00:00:00:{number:02x}" for number in range(255)]
    target = session()
    mask(target, 1, *((1, member) for member in members))
    assert mask(target, 1, (1, members[7]))[2] == 0
    assert mask(target, 1, (1, members[7]), (1, MAC)) == bytes([0, 1, 3, 1])


def test_a_long_list_is_told_as_far_as_a_frame_goes() -> None:
    """At MTU 1500 that is 185 of 255 entries; of a reservation 248."""
    target = session(allowed=[f"02:00:00:00:00:{number:02x}" for number in range(255)])
    answer = mask(target, 0)
    assert len(wire.parse_mask(answer).directives) == 185
    assert 10 + len(answer) <= 1500
    assert len(reserve(target, 1, *target.mask)) == 248


def test_more_allowed_than_a_mask_holds_is_the_operators_error() -> None:
    """256 MACs; and one that is none."""
    with pytest.raises(ValueError, match="255"):
        session(allowed=[f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(256)])
    with pytest.raises(ValueError, match="no MAC"):
        session(allowed=["nobody"])


def test_an_unknown_mask_command_is_a_bad_argument() -> None:
    """Two and up."""
    assert refusal(session(), replace(HEADER, command=Command.MASK), bytes([0, 2, 0, 0])) == ErrorCode.BAD_ARGUMENT


# Reservation


def test_a_reserved_target_serves_its_holders_only() -> None:
    """Others get error 6 for all but IDENTIFY, also when they try to take it; a holder may let go."""
    target = session()
    assert reserve(target, 1, MAC) == [parse_mac(MAC)]
    assert refusal(target, HEADER, ata(0x20), OTHER) == ErrorCode.TARGET_RESERVED
    assert isinstance(ask_ata(target, ata(0xEC), OTHER), Identify)
    assert isinstance(ask_ata(target, ata(0x20)), Read)
    with pytest.raises(SessionError) as caught:
        reserve(target, 1, OTHER, by=OTHER)
    assert caught.value.reply_code == ErrorCode.TARGET_RESERVED
    assert reserve(target, 1) == []
    assert isinstance(ask_ata(target, ata(0x20), OTHER), Read)


def test_a_reservation_is_forced_and_read() -> None:
    """By anyone; reading changes nothing."""
    target = session()
    reserve(target, 1, MAC)
    assert reserve(target, 2, OTHER, by=OTHER) == [parse_mac(OTHER)]
    assert reserve(target, 0, MAC) == [parse_mac(OTHER)]


def test_an_unknown_reserve_command_is_a_bad_argument() -> None:
    """Three and up."""
    assert refusal(session(), replace(HEADER, command=Command.RESERVE), b"\x03\x00") == ErrorCode.BAD_ARGUMENT


# Any command


@pytest.mark.parametrize("command", [4, 239, 240, 255])
def test_unknown_and_vendor_commands_are_bad(command: int) -> None:
    """Error 1."""
    assert refusal(session(), replace(HEADER, command=command), b"") == ErrorCode.BAD_COMMAND


@pytest.mark.parametrize("version", [0, 2, 15])
def test_other_versions_are_unsupported(version: int) -> None:
    """Error 5, whatever the argument."""
    assert refusal(session(), replace(HEADER, version=version), b"") == ErrorCode.UNSUPPORTED_VERSION


@given(st.integers(0, 4), st.binary(max_size=80), st.booleans())
def test_anything_gets_an_outcome_or_a_known_error(command: int, argument: bytes, writable: bool) -> None:
    """No bytes lead outside the disk, nor to any other exception."""
    target = session(writable=writable)
    outcome = None
    with suppress(SessionError, WireError):
        outcome = target.answer(MAC, replace(HEADER, command=command), argument)
    if isinstance(outcome, Read):
        assert 0 <= outcome.offset <= outcome.offset + outcome.length <= 100 * 512
