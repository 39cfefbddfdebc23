"""Counters of a run for Prometheus, through the endpoint that Ray has on every node.

They are counted by the driver, of what was committed. Ray exports them with the prefix `ray_` at
`http://NODE:PORT/metrics` of the driver's node; the port is `MetricsExportPort` in `ray.nodes()`.
It is a free one unless Ray was started with `--metrics-export-port`. Needs no dashboard.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.worker import UnitResult

_UNIT_SECONDS = [0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0]


class Metrics:
    """The metrics of one run; made after Ray is up."""

    def __init__(self, job: str) -> None:
        def counter(name: str, doc: str, *tags: str) -> Counter:
            made = Counter(f"audiomill_{name}", doc, tag_keys=("job", *tags))
            made.set_default_tags({"job": job})
            return made

        self._units = counter("units", "units committed")
        self._inputs = counter("inputs", "inputs that ended, by outcome", "outcome")
        self._failures = counter("failures", "inputs that failed", "stage", "error_class")
        self._stage_s = counter("stage_seconds", "compute seconds of a stage", "stage")
        self._audio_s = counter("audio_seconds", "decoded seconds of inputs that ended")
        self._workers = counter("workers_ended", "workers replaced or recycled", "how")
        self._unit_s = Histogram(
            "audiomill_unit_seconds",
            "compute seconds of a unit",
            boundaries=_UNIT_SECONDS,
            tag_keys=("job",),
        )
        self._unit_s.set_default_tags({"job": job})
        self._to_do = Gauge(
            "audiomill_inputs_to_do", "inputs left in the sweep under way", tag_keys=("job",)
        )
        self._to_do.set_default_tags({"job": job})
        self._num_to_do = 0

    def sweep(self, num_inputs: int) -> None:
        """A sweep over so many inputs begins."""
        self._num_to_do = num_inputs
        self._to_do.set(num_inputs)

    def unit(self, result: UnitResult) -> None:
        """A unit was committed."""
        self._units.inc()
        self._num_to_do = max(0, self._num_to_do - result.num_inputs)
        self._to_do.set(self._num_to_do)
        for outcome, number in result.num_by_outcome.items():
            self._inputs.inc(number, {"outcome": outcome})
        for blame in result.blames:
            if blame:
                self._failures.inc(1, {"stage": blame.stage, "error_class": blame.error_class})
        for stage, clock in result.clocks.items():
            if clock.compute_s > 0:
                self._stage_s.inc(clock.compute_s, {"stage": stage})
        if result.ended_s > 0:
            self._audio_s.inc(result.ended_s)
        self._unit_s.observe(sum(clock.compute_s for clock in result.clocks.values()))

    def worker(self, how: str) -> None:
        """A worker was `replaced` after its death, or `recycled` because it had grown."""
        self._workers.inc(1, {"how": how})
