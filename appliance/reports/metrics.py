"""The appliance's numbers in Prometheus' text format, collected at the moment they are asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from appliance.timeline.stage import Stage
from appliance.timeline.timeline import Timeline

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # what generate_latest writes


class _Appliance(Collector):
    """One scrape's view: the timeline and the protocols' counters as they are now."""

    def __init__(self, timeline: Timeline, counters: Mapping[str, Mapping[str, int]], about: Mapping[str, str]) -> None:
        self.timeline = timeline
        self.counters = counters
        self.about = about

    def collect(self) -> Iterable[Metric]:
        """Every metric family."""
        yield InfoMetricFamily("rootwire", "What this appliance is.", dict(self.about))
        yield self._protocol_events()
        yield from self._machines()
        yield from self._stages()

    def _protocol_events(self) -> Metric:
        family = CounterMetricFamily(
            "rootwire_protocol_events", "What the protocols count.", labels=["protocol", "event"]
        )
        for protocol, counts in self.counters.items():
            for event, count in counts.items():
                family.add_metric([protocol, event], count)
        return family

    def _machines(self) -> Iterable[Metric]:
        machines = self.timeline.machines()
        now = self.timeline.clock()
        stages = Counter(machine.stage for machine in machines)
        family = GaugeMetricFamily("rootwire_machines", "Machines by the stage of their boot.", labels=["stage"])
        for stage in Stage:
            family.add_metric([stage.label], stages[stage])
        yield family
        overdue = sum(self.timeline.overdue(machine, now) is not None for machine in machines)
        yield GaugeMetricFamily("rootwire_machines_overdue", "Machines that wait too long in a stage.", overdue)
        yield CounterMetricFamily(
            "rootwire_overdue", "How often a machine waited too long in a stage.", self.timeline.overdue_count
        )

    def _stages(self) -> Iterable[Metric]:
        reached = CounterMetricFamily("rootwire_stage_reached", "Boots that reached a stage.", labels=["stage"])
        moved = CounterMetricFamily("rootwire_sent_bytes", "Bytes sent to machines, by stage.", labels=["stage"])
        for stage in Stage:
            reached.add_metric([stage.label], self.timeline.reached[stage])
            moved.add_metric([stage.label], self.timeline.moved[stage])
        yield reached
        yield moved


def expose(timeline: Timeline, counters: Mapping[str, Mapping[str, int]], about: Mapping[str, str]) -> bytes:
    """Everything as Prometheus reads it; send it as CONTENT_TYPE."""
    registry = CollectorRegistry()  # its own each time: nothing global, nothing left behind between scrapes
    registry.register(_Appliance(timeline, counters, about))
    return generate_latest(registry)
