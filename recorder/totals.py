"""What the whole log holds, counted over all lives of the recorder, beside what others have counted. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping

from common.events.base import Message
from common.events.market import Tick, Ticks
from common.events.system import GapFound
from recorder.streams import GapReason


class Totals:
    """Messages by kind, each tick of a group as one; gaps, and how many numbers they lack."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def take_up(self, counts: Mapping[str, int]) -> None:
        """Begin with what was counted before."""
        self.counts.update(counts)

    def add(self, messages: Iterable[Message]) -> None:
        """Count what is in the log now."""
        kinds: Counter[type[Message]] = Counter()
        for message in messages:
            kind = type(message)
            if kind is Ticks:
                self.counts["log_tick"] += message.count  # type: ignore[attr-defined]  # it is one
            else:
                kinds[kind] += 1
                if kind is GapFound:
                    self._add_gap(message)  # type: ignore[arg-type]  # it is one
        for kind, count in kinds.items():
            self.counts[f"log_{kind.kind}"] += count

    def _add_gap(self, gap: GapFound) -> None:
        if gap.is_recovered:
            self.counts["log_gaps_recovered"] += 1
        elif gap.last_seq is None:
            self.counts["log_gaps_without_end"] += 1
        elif gap.reason != GapReason.LATE:
            lost = gap.last_seq - gap.first_seq + 1
            self.counts["log_gaps"] += 1
            self.counts["log_lost"] += lost
            self.counts[f"log_lost_{gap.channel}"] += lost
            if gap.stream.startswith(f"{Tick.kind}."):
                self.counts["log_lost_tick"] += lost
