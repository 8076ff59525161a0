"""The data of NBD's options: vectors both ways, truncation at every offset, round trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import WireError
from protocols.nbd import options
from protocols.nbd.options import InfoRequest, MetaRequest
from protocols.nbd.wire import InfoType, TransmissionFlag

INFO_VECTOR = bytes.fromhex("00000004") + b"root" + bytes.fromhex("0002 0003 0001")
INFO_VALUE = InfoRequest("root", (3, 1))
META_VECTOR = bytes.fromhex("00000004") + b"root" + bytes.fromhex("00000001 0000000f") + b"base:allocation"
META_VALUE = MetaRequest("root", ("base:allocation",))
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def test_info_request_both_ways() -> None:
    """The vector parses to the value that builds it."""
    assert options.parse_info_request(INFO_VECTOR) == INFO_VALUE
    assert options.build_info_request(INFO_VALUE) == INFO_VECTOR


def test_meta_request_both_ways() -> None:
    """The vector parses to the value that builds it."""
    assert options.parse_meta_request(META_VECTOR) == META_VALUE
    assert options.build_meta_request(META_VALUE) == META_VECTOR


@pytest.mark.parametrize("length", range(len(INFO_VECTOR)))
def test_truncated_info_request_is_refused(length: int) -> None:
    """Cut at every offset."""
    with pytest.raises(WireError, match="ends inside"):
        options.parse_info_request(INFO_VECTOR[:length])


@pytest.mark.parametrize("length", range(len(META_VECTOR)))
def test_truncated_meta_request_is_refused(length: int) -> None:
    """Cut at every offset."""
    with pytest.raises(WireError, match="ends inside"):
        options.parse_meta_request(META_VECTOR[:length])


def test_trailing_bytes_are_refused() -> None:
    """An option says how long it is, so more is an error."""
    with pytest.raises(WireError, match="goes on past its end"):
        options.parse_info_request(INFO_VECTOR + b"\0")
    with pytest.raises(WireError, match="goes on past its end"):
        options.parse_meta_request(META_VECTOR + b"\0")


def test_a_huge_count_of_queries_ends_with_the_data() -> None:
    """A count is believed only as far as there are bytes."""
    with pytest.raises(WireError, match="ends inside a number"):
        options.parse_meta_request(bytes(4) + b"\xff\xff\xff\xff")


def test_a_huge_name_is_not_allocated() -> None:
    """A length past the data is refused before anything is made of it."""
    with pytest.raises(WireError, match="ends inside a string"):
        options.parse_info_request(b"\xff\xff\xff\xffname")


@given(st.builds(InfoRequest, NAMES, st.lists(st.integers(0, 0xFFFF), max_size=9).map(tuple)))
def test_info_requests_round_trip(asked: InfoRequest) -> None:
    """What is built parses to the same."""
    assert options.parse_info_request(options.build_info_request(asked)) == asked


@given(st.builds(MetaRequest, NAMES, st.lists(NAMES, max_size=9).map(tuple)))
def test_meta_requests_round_trip(asked: MetaRequest) -> None:
    """What is built parses to the same."""
    assert options.parse_meta_request(options.build_meta_request(asked)) == asked


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_raise_a_wire_error(data: bytes) -> None:
    """What parses builds the same bytes again."""
    try:
        asked = options.parse_info_request(data)
    except WireError:
        return
    assert options.build_info_request(asked) == data


def test_export_fact_vector() -> None:
    """Type 0, size, flags."""
    fact = options.build_export_fact(4096, TransmissionFlag.HAS_FLAGS)
    assert fact == bytes.fromhex("0000 0000000000001000 0001")


def test_text_fact_vector() -> None:
    """The name's length is the reply's."""
    assert options.build_text_fact(InfoType.NAME, "root") == b"\0\1root"


def test_block_size_fact_vector() -> None:
    """Minimum, preferred, maximum."""
    fact = options.build_block_size_fact(512, 4096, 32 << 20)
    assert fact == bytes.fromhex("0003 00000200 00001000 02000000")


def test_meta_context_vector() -> None:
    """Its number, then its name to the end."""
    assert options.build_meta_context(1, "base:allocation") == b"\0\0\0\1base:allocation"
