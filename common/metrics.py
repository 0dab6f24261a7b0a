"""Latency distributions in the field's format: HdrHistogram, mergeable across processes and restarts."""

from collections.abc import Iterable, Mapping

from hdrh.histogram import HdrHistogram

from common.clock import NS_PER_S, NS_PER_US

LOWEST_NS = 1_000
HIGHEST_NS = 60 * NS_PER_S
SIGNIFICANT_DIGITS = 3
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}


class Latency:
    """Durations in ns. A negative one, which clock skew makes, is counted apart: the histogram would lose it."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
        self.negative_count = 0
        self.negative_ns_min = 0

    @property
    def count(self) -> int:
        """How many durations of 0 and more were recorded."""
        return int(self._histogram.get_total_count())

    def record(self, duration_ns: int, count: int = 1) -> None:
        """Take one duration, or as many that are alike; above 60 s it counts as 60 s."""
        if duration_ns >= 0:
            self._histogram.record_value(min(duration_ns, HIGHEST_NS), count)
            return
        self.negative_count += count
        self.negative_ns_min = min(self.negative_ns_min, duration_ns)

    def encode(self) -> bytes:
        """The histogram in the library's compressed form."""
        encoded: bytes = self._histogram.encode()
        return encoded

    def merge(self, encoded: bytes) -> None:
        """Add the durations of another histogram."""
        self._histogram.add(HdrHistogram.decode(encoded))

    def value_ns_at(self, percentile: float) -> int:
        """The duration that this percentage of all stays within."""
        return int(self._histogram.get_value_at_percentile(percentile))

    def summary_us(self) -> dict[str, float | None]:
        """Percentiles and maximum in µs; None for each while nothing was recorded."""
        if not self.count:
            return dict.fromkeys([*PERCENTILES, "max"])
        values: dict[str, float | None] = {
            name: round(self.value_ns_at(percentile) / NS_PER_US, 1) for name, percentile in PERCENTILES.items()
        }
        values["max"] = round(self._histogram.get_max_value() / NS_PER_US, 1)
        return values


def merge_counters(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add counters by name, as over the lives of a process that was restarted."""
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
