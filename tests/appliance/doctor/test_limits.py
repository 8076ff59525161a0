"""Settings of the kernel, each at a value that is too small and at one that is not."""

import resource
from pathlib import Path

import pytest

from appliance.doctor import limits
from appliance.doctor.finding import Level
from appliance.host import Interface
from tests.appliance.doctor.boxes import ETH0, make_box, only

OTHER = Interface("eth1", "52:54:00:00:00:03", 1500, ("10.9.0.1",), is_loopback=False)
THRESH = "net/ipv4/neigh/default/gc_thresh3"
MAX, COUNT = "net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_count"
STRICT = "net/ipv4/conf/eth0/rp_filter"
IGNORED = "net/ipv4/icmp_echo_ignore_all"


@pytest.mark.parametrize(
    ("check", "sysctls", "level"),
    [
        (limits.check_neighbours, {THRESH: 1024}, Level.WARNING),
        (limits.check_neighbours, {THRESH: 4096}, Level.OK),
        (limits.check_conntrack, {MAX: 65536, COUNT: 60000}, Level.ERROR),
        (limits.check_conntrack, {MAX: 8192, COUNT: 10}, Level.WARNING),
        (limits.check_conntrack, {MAX: 65536, COUNT: 10}, Level.OK),
        (limits.check_waiting, {"net/core/somaxconn": 128}, Level.WARNING),
        (limits.check_waiting, {"net/core/somaxconn": 4096}, Level.OK),
        (limits.check_ping, {IGNORED: 1}, Level.ERROR),
        (limits.check_ping, {IGNORED: 0}, Level.OK),
    ],
)
def test_settings(tmp_path: Path, check: object, sysctls: dict[str, int], level: Level) -> None:
    """One finding, and a remedy unless it is well."""
    finding = only(list(check(make_box(proc=tmp_path, sysctls=sysctls))))  # type: ignore[operator]
    assert finding.level is level
    assert bool(finding.remedy) is (level is not Level.OK)


@pytest.mark.parametrize("check", [limits.check_neighbours, limits.check_conntrack, limits.check_waiting])
def test_kernels_without_the_setting(tmp_path: Path, check: object) -> None:
    """Nothing to say: a namespace has no neighbour limits of its own, and most hosts track no connections."""
    assert list(check(make_box(proc=tmp_path))) == []  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "interfaces", "level"),
    [(1, (ETH0, OTHER), Level.WARNING), (1, (ETH0,), Level.OK), (2, (ETH0, OTHER), Level.OK)],
)
def test_sources(tmp_path: Path, value: int, interfaces: tuple[Interface, ...], level: Level) -> None:
    """Strict filtering matters where there is another way back."""
    box = make_box(proc=tmp_path, sysctls={STRICT: value}, interfaces=interfaces)
    assert only(list(limits.check_sources(box))).level is level


def test_receive_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by what a socket really gets."""
    assert only(list(limits.check_receive_buffer(make_box()))).subject == "receive buffer"
    monkeypatch.setattr(limits, "RECEIVE_BUFFER", 1 << 40)
    finding = only(list(limits.check_receive_buffer(make_box())))
    assert finding.level is Level.WARNING
    assert "rmem_max" in finding.remedy


@pytest.mark.parametrize(("hard", "level"), [(1024, Level.WARNING), (65536, Level.OK), (-1, Level.OK)])
def test_files(monkeypatch: pytest.MonkeyPatch, hard: int, level: Level) -> None:
    """The hard limit, which may be none."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, hard))
    assert only(list(limits.check_files(make_box()))).level is level
