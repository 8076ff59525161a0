"""Fixtures of the ProxyDHCP tests."""

from collections.abc import Iterator

import pytest

from tests.protocols.dhcp.lan import Lan, made_lan


@pytest.fixture
def lan() -> Iterator[Lan]:
    """A LAN of our own, gone when the test ends."""
    with made_lan() as lan:
        yield lan
