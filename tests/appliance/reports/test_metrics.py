"""Metrics: what a Prometheus parser reads back from them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.reports.metrics import expose
from appliance.timeline.stage import Stage
from appliance.timeline.timeline import Timeline

MAC = "52:54:00:77:00:01"
Samples = dict[tuple[str, str], float]


def read(timeline: Timeline, counters: dict[str, dict[str, int]] | None = None) -> Samples:
    """Samples by name and the values of their labels."""
    text = expose(timeline, counters or {}, {"version": "0.1.0"}).decode()
    families = text_string_to_metric_families(text)
    return {(s.name, " ".join(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(clock=lambda: 1000.0)


def test_version_is_a_label(timeline: Timeline) -> None:
    """As Prometheus likes its facts."""
    assert read(timeline)["rootwire_info", "0.1.0"] == 1


def test_every_protocols_counters_are_there(timeline: Timeline) -> None:
    """Under one name, told apart by labels."""
    samples = read(timeline, {"tftp": {"malformed": 3}, "nbd": {"refused": 1}})
    assert samples["rootwire_protocol_events_total", "malformed tftp"] == 3
    assert samples["rootwire_protocol_events_total", "refused nbd"] == 1


def test_machines_are_counted_by_stage(timeline: Timeline) -> None:
    """Stages without a machine are zero, not absent: absent series break graphs."""
    timeline.note(Stage.KERNEL, mac=MAC)
    samples = read(timeline)
    assert samples["rootwire_machines", "kernel"] == 1
    assert sum(value for (name, _), value in samples.items() if name == "rootwire_machines") == 1
    assert sum(name == "rootwire_machines" for name, _ in samples) == len(Stage)


def test_overdue_machines_are_counted(timeline: Timeline) -> None:
    """Now, and since the start."""
    timeline.note(Stage.OFFERED, mac=MAC)
    timeline.check(1030.0)
    assert read(timeline)["rootwire_overdue_total", ""] == 1
    assert read(timeline)["rootwire_machines_overdue", ""] == 0
    timeline.clock = lambda: 1030.0
    assert read(timeline)["rootwire_machines_overdue", ""] == 1


def test_bytes_and_boots_are_counted_by_stage(timeline: Timeline) -> None:
    """Files by their size, roots by what was read, each boot once."""
    for _ in range(2):
        timeline.note(Stage.KERNEL, mac=MAC, size=500)
    timeline.note(Stage.ROOT_CONNECTED, mac=MAC)
    timeline.traffic("nbd 1", mac=MAC, bytes_read=70)
    samples = read(timeline)
    assert samples["rootwire_stage_reached_total", "kernel"] == 1
    assert samples["rootwire_sent_bytes_total", "kernel"] == 1000
    assert samples["rootwire_sent_bytes_total", "root connected"] == 70
