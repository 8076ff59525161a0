"""Codecs: vectors both ways, truncation everywhere, round trips."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.aoe import wire
from protocols.aoe.wire import (
    AtaArgument,
    AtaFlag,
    Command,
    ConfigArgument,
    Directive,
    Flag,
    Header,
    MaskArgument,
    ReserveArgument,
)
from protocols.errors import WireError

HERE, THERE = bytes.fromhex("525400770001"), bytes.fromhex("02000000000a")
PADDING = bytes(22)

# One row a message: its bytes as a capture shows them, and the value.
HEADERS = [
    # The Linux driver's first query: broadcast, any shelf and slot, tag 0.
    (
        "ffffffffffff52540077000188a21000ffffff0100000000",
        Header(b"\xff" * 6, HERE, 1, Flag(0), 0, 0xFFFF, 0xFF, Command.CONFIG, 0),
    ),
    (
        "52540077000102000000000a88a21c06001103007fff1234",
        Header(HERE, THERE, 1, Flag.RESPONSE | Flag.ERROR, 6, 17, 3, Command.ATA, 0x7FFF1234),
    ),
]
ATAS = [
    ("0000 01ec 000000a00000 0000", AtaArgument(AtaFlag(0), 0, 1, 0xEC, 0xA0000000)),
    ("4000 0224 050403020100 0000", AtaArgument(AtaFlag.EXTENDED, 0, 2, 0x24, 0x000102030405)),
    (
        "4100 0134 010000000000 0000" + "5a" * 512,
        AtaArgument(AtaFlag.EXTENDED | AtaFlag.WRITE, 0, 1, 0x34, 1, b"\x5a" * 512),
    ),
]
CONFIGS = [
    ("0000 0000 00 00 0000", ConfigArgument(0, 0, 0, 0, 0, b"")),
    ("0010 0001 02 14 0005 68656c6c6f", ConfigArgument(16, 1, 2, 1, 4, b"hello")),
]
MASKS = [
    ("00 00 00 00", MaskArgument(0)),
    (
        "00 01 00 02 00 01 525400770001 00 02 02000000000a",
        MaskArgument(1, 0, [Directive(1, HERE), Directive(2, THERE)]),
    ),
]
RESERVES = [
    ("00 00", ReserveArgument(0)),
    ("01 02 525400770001 02000000000a", ReserveArgument(1, [HERE, THERE])),
]
ARGUMENTS: list[tuple[Callable[[bytes], object], Callable[..., bytes], str, object]] = [
    *((wire.parse_config, wire.build_config, text, value) for text, value in CONFIGS),
    *((wire.parse_mask, wire.build_mask, text, value) for text, value in MASKS),
    *((wire.parse_reserve, wire.build_reserve, text, value) for text, value in RESERVES),
]


@pytest.mark.parametrize(("text", "value"), HEADERS)
def test_header_both_ways(text: str, value: Header) -> None:
    """Vectors parse and build, with an argument behind or without."""
    raw = bytes.fromhex(text)
    assert wire.parse_header(raw) == wire.parse_header(raw + b"behind") == value
    assert wire.build_header(value) == raw


@pytest.mark.parametrize(("text", "value"), ATAS)
def test_ata_both_ways(text: str, value: AtaArgument) -> None:
    """Registers and the data behind them, which building leaves to the sender."""
    raw = bytes.fromhex(text)
    assert wire.parse_ata(raw) == value
    assert wire.build_ata(value) + bytes(value.data) == raw


@pytest.mark.parametrize(("parse", "build", "text", "value"), ARGUMENTS)
def test_argument_both_ways(
    parse: Callable[[bytes], object], build: Callable[..., bytes], text: str, value: object
) -> None:
    """Vectors parse, whole or with Ethernet's padding behind, and build."""
    raw = bytes.fromhex(text)
    assert parse(raw) == parse(raw + PADDING) == value
    assert build(value) == raw


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (wire.parse_header, HEADERS[1][0]),
        (wire.parse_ata, ATAS[0][0]),
        *((parse, text) for parse, _, text, _ in ARGUMENTS),
    ],
)
def test_every_truncation_is_a_wire_error(parse: Callable[[bytes], object], text: str) -> None:
    """Cut at each offset."""
    raw = bytes.fromhex(text)
    for end in range(len(raw)):
        with pytest.raises(WireError):
            parse(raw[:end])


def test_another_ethertype_is_refused() -> None:
    """The offset is the ethertype's."""
    with pytest.raises(WireError, match="0x0806") as caught:
        wire.parse_header(bytes.fromhex("ffffffffffff525400770001080610000000000000000000"))
    assert caught.value.offset == 12


def test_a_config_string_over_the_limit_is_refused() -> None:
    """1024 bytes are the most; 1025 are not, though they are there."""
    longest = ConfigArgument(0, 0, 0, 1, 4, b"x" * 1024)
    assert wire.parse_config(wire.build_config(longest)) == longest
    with pytest.raises(WireError, match="over 1024"):
        wire.parse_config(wire.build_config(replace(longest, string=b"x" * 1025)))


def test_a_mask_error_carries_its_own_count() -> None:
    """How many directives were done, with none behind."""
    assert wire.build_mask(MaskArgument(1, 3), 7) == bytes.fromhex("00010307")


@pytest.mark.parametrize(
    ("mtu", "sectors"), [(0, 1), (533, 1), (1045, 1), (1046, 2), (1500, 2), (1558, 3), (9000, 17), (65535, 127)]
)
def test_sectors_per_frame_follow_the_mtu(mtu: int, sectors: int) -> None:
    """22 bytes of AoE, then whole sectors; never none, for that means something else."""
    assert wire.sectors_per_frame(mtu) == sectors


@pytest.mark.parametrize(
    "parse", [wire.parse_header, wire.parse_ata, wire.parse_config, wire.parse_mask, wire.parse_reserve]
)
@given(raw=st.binary(max_size=80))
def test_only_wire_errors_escape(parse: Callable[[bytes], object], raw: bytes) -> None:
    """Any bytes: a value or a WireError that points into them."""
    offset = 0
    try:
        parse(raw)
    except WireError as error:
        offset = error.offset
    assert 0 <= offset <= wire.HEADER_BYTES + len(raw)


addresses = st.binary(min_size=6, max_size=6)
bytes_ = st.integers(0, 255)
words = st.integers(0, 0xFFFF)


@given(
    st.builds(
        Header,
        addresses,
        addresses,
        st.integers(0, 15),
        st.integers(0, 15).map(Flag),
        bytes_,
        words,
        bytes_,
        bytes_,
        st.integers(0, 2**32 - 1),
    )
)
def test_headers_round_trip(header: Header) -> None:
    """Any header."""
    assert wire.parse_header(wire.build_header(header)) == header


@given(
    st.builds(
        AtaArgument, bytes_.map(AtaFlag), bytes_, bytes_, bytes_, st.integers(0, 2**48 - 1), st.binary(max_size=40)
    )
)
def test_ata_arguments_round_trip(ata: AtaArgument) -> None:
    """Any registers and data."""
    assert wire.parse_ata(wire.build_ata(ata) + bytes(ata.data)) == ata


@given(
    st.one_of(
        st.builds(ConfigArgument, words, words, bytes_, st.integers(0, 15), st.integers(0, 15), st.binary(max_size=40)),
        st.builds(MaskArgument, bytes_, bytes_, st.lists(st.builds(Directive, bytes_, addresses), max_size=255)),
        st.builds(ReserveArgument, bytes_, st.lists(addresses, max_size=255)),
    )
)
def test_arguments_round_trip(value: ConfigArgument | MaskArgument | ReserveArgument) -> None:
    """Any configuration, mask or reservation."""
    if isinstance(value, ConfigArgument):
        assert wire.parse_config(wire.build_config(value)) == value
    elif isinstance(value, MaskArgument):
        assert wire.parse_mask(wire.build_mask(value)) == value
    else:
        assert wire.parse_reserve(wire.build_reserve(value)) == value
