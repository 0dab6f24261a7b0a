"""Adds up what processes report, over all their lives: a process that was killed and restarted counts as one."""

from collections.abc import Iterable

from common.events.system import ProcessReported, ProcessState
from common.metrics import Latency, merge_counters


class Tally:
    """The newest report of each life of each process."""

    def __init__(self) -> None:
        self._lives: dict[tuple[str, int], ProcessReported] = {}

    def take(self, report: ProcessReported) -> None:
        """Keep a report, unless a newer one of the same life is known."""
        key = (report.source, report.epoch)
        known = self._lives.get(key)
        if known is None or report.timestamp_ns >= known.timestamp_ns:
            self._lives[key] = report

    def newest(self) -> list[ProcessReported]:
        """The newest life of each process, by role and name."""
        newest: dict[str, ProcessReported] = {}
        for (source, _), report in sorted(self._lives.items()):
            newest[source] = report
        return sorted(newest.values(), key=lambda report: (report.role, report.source))

    def restarts(self, source: str) -> int:
        """How often a process was started again."""
        return sum(1 for name, _ in self._lives if name == source) - 1

    def lives(self, role: str) -> list[ProcessReported]:
        """All lives of all processes of a role."""
        return [report for report in self._lives.values() if report.role == role]

    def counters(self, role: str, source: str | None = None) -> dict[str, int]:
        """Counters of a role, or of one of its processes, over all lives."""
        lives = self.lives(role)
        return merge_counters(life.counters for life in lives if source in (None, life.source))

    def latency(self, name: str) -> Latency:
        """A distribution over all processes and lives."""
        latency = Latency()
        for report in self._lives.values():
            if name in report.latencies:
                latency.merge(report.latencies[name])
        return latency

    def unready(self, expected: Iterable[str]) -> dict[str, str]:
        """Processes that are not ready, with what they wait for."""
        states = {report.source: report for report in self.newest()}
        waiting = {}
        for name in expected:
            report = states.get(name)
            if report is None:
                waiting[name] = "not started"
            elif report.state is not ProcessState.READY:
                waiting[name] = f"{report.state.value}: {report.detail}" if report.detail else report.state.value
        return waiting
