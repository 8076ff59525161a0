"""What is said of other servers' offers."""

from dataclasses import replace

import pytest

from appliance.doctor.finding import Level
from appliance.doctor.servers import check_servers
from protocols.dhcp.probe import HeardOffer
from tests.appliance.doctor.boxes import ADDRESS, PLAIN, ROUTER, make_box, only, troubles

PROXY = HeardOffer("10.77.0.9", "0.0.0.0", "10.77.0.9", b"other.0", b"", b"PXEClient", b"\6\1\x08\xff")
OURS = replace(PROXY, server=ADDRESS)


def test_a_plain_server() -> None:
    """As it must be; our own offers are none of another's."""
    finding = only(list(check_servers(make_box(offers=(PLAIN, OURS)))))
    assert (finding.level, finding.text) == (Level.OK, "10.77.0.1 gives addresses")


def test_no_server() -> None:
    """Nobody gets an address."""
    finding = only(list(check_servers(make_box(offers=(OURS,)))))
    assert finding.level is Level.WARNING
    assert "none gives addresses on eth0" in finding.text


def test_server_on_this_box() -> None:
    """It does not hear what this box sends, so its silence means nothing."""
    finding = only(list(check_servers(make_box(offers=(), neighbour="dnsmasq (pid 812)"))))
    assert finding.level is Level.OK
    assert "dnsmasq (pid 812) on this box" in finding.text


def test_our_own_addresses() -> None:
    """By [dhcp] nobody else is to give any."""
    alone = replace(make_box(offers=(OURS,)), gives_addresses=True)
    assert only(list(check_servers(alone))).level is Level.OK
    beside = replace(make_box(offers=(PLAIN,)), gives_addresses=True)
    assert "two servers give one address twice" in only(troubles(list(check_servers(beside)))).text


def test_no_right_to_listen() -> None:
    """Not the same as having heard nothing."""
    assert only(list(check_servers(make_box(offers=None)))).level is Level.ERROR


def test_two_servers() -> None:
    """D-28."""
    other = replace(PLAIN, server="10.77.0.3", next_server="10.77.0.3")
    finding = only(troubles(list(check_servers(make_box(offers=(PLAIN, other))))))
    assert finding.text.startswith("10.77.0.1 and 10.77.0.3 both give addresses")


@pytest.mark.parametrize(
    ("offer", "level", "words"),
    [
        (replace(PLAIN, file=b"pxelinux.0"), Level.ERROR, "names a boot file, pxelinux.0"),
        (replace(PLAIN, file=b"\x1b[2J"), Level.ERROR, "names a boot file, ?[2J"),
        (replace(PLAIN, next_server="10.77.0.7"), Level.WARNING, "the boot server 10.77.0.7"),
        (replace(PLAIN, server_name=b"tftp.example"), Level.WARNING, "the boot server tftp.example"),
        (replace(PLAIN, vendor_class=b"PXEClient"), Level.ERROR, "option 60 PXEClient"),
        (replace(PLAIN, vendor_specific=b"\6\1\x08\xff"), Level.ERROR, "option 43"),
        (PROXY, Level.ERROR, "10.77.0.9 is another boot server (ProxyDHCP) and offers other.0"),
    ],
)
def test_spoiled(offer: HeardOffer, level: Level, words: str) -> None:
    """Each thing that firmware follows instead of our offer (P-6, P-8, G-1)."""
    finding = only(troubles(list(check_servers(make_box(offers=(PLAIN, offer) if offer is PROXY else (offer,))))))
    assert finding.level is level
    assert words in finding.text


def test_a_server_that_names_us() -> None:
    """It leads machines here, by a way of its own."""
    offer = replace(PLAIN, file=b"pxelinux.0", next_server=ADDRESS)
    assert troubles(list(check_servers(make_box(offers=(offer,))))) == []


def test_both_firmwares_answers_are_one_finding() -> None:
    """The same server is not told of twice; the offer that says more counts."""
    offers = (PLAIN, replace(PLAIN, file=b"pxelinux.0"))
    assert only(troubles(list(check_servers(make_box(offers=offers))))).text.startswith(f"{ROUTER} names a boot file")


def test_a_proxy_that_offers_nothing() -> None:
    """No address, no file, no PXE: nobody's trouble."""
    assert troubles(list(check_servers(make_box(offers=(PLAIN, replace(PROXY, file=b"", vendor_class=b"")))))) == []
