"""The fault plan: what goes wrong at a venue that misbehaves on demand, and when. One seed decides all.

Whatever is done to answers and reports, the ledger keeps what really happened: it stays the witness.
"""

import difflib
import enum
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from common.clock import NS_PER_MS


class FaultName(enum.StrEnum):
    """What can go wrong. Beside each what is counted as an occasion for it."""

    ANSWER_LOST = "answer_lost"  # an answer: it never leaves
    ANSWER_LATE = "answer_late"  # an answer: it leaves `ms` later
    ANSWER_DUPLICATED = "answer_duplicated"  # an answer: it leaves twice
    ANSWER_AFTER_FILL = "answer_after_fill"  # an accepted order: its answer waits for its first report, `ms` at most
    FILL_BEFORE_ANSWER = "fill_before_answer"  # an order: it meets the market, and is reported, before it is answered
    EXECUTIONS_REORDERED = "executions_reordered"  # a report: it leaves after the next one, or after `ms`
    EXECUTION_DUPLICATED = "execution_duplicated"  # a report: it leaves twice
    EXECUTION_CORRECTED = "execution_corrected"  # a trade: it had another price after all
    TRADE_CANCELLED = "trade_cancelled"  # a trade that ends its order: it never was
    REJECT = "reject"  # an order: the venue refuses it
    THROTTLE = "throttle"  # a request about one order: too many, nothing is done
    DISCONNECT = "disconnect"  # a request: it is done, but for `ms` no answer and no report leaves
    SLOW = "slow"  # a request: it is looked at `ms` later
    CRASH_BEFORE_ACCEPT = "crash_before_accept"  # an order: the process dies before it is looked at
    CRASH_AFTER_ACCEPT = "crash_after_accept"  # an order: the process dies when it is durable, before it is answered
    CLOCK_SKEW = "clock_skew"  # a request: the venue's clock is off by `ms`, back when below 0


# How long, where the file does not say; None: it must say.
_MS_DEFAULTS = {
    FaultName.ANSWER_LATE: None,
    FaultName.ANSWER_AFTER_FILL: 1_000,
    FaultName.EXECUTIONS_REORDERED: 100,
    FaultName.DISCONNECT: None,
    FaultName.SLOW: None,
    FaultName.CLOCK_SKEW: None,
}


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong: at some of its occasions, counted from 1, or at each with a probability."""

    name: str
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    at: list[Annotated[int, msgspec.Meta(gt=0)]] = []
    ms: Annotated[int, msgspec.Meta(ge=-86_400_000, le=86_400_000)] | None = None

    def __post_init__(self) -> None:
        known = [name.value for name in FaultName]
        if self.name not in known:
            nearest = difflib.get_close_matches(self.name, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(known)}"
            raise ValueError(f"name: unknown fault {self.name!r}; {hint}")
        if not (self.probability or self.at):
            raise ValueError(f"{self.name}: expected a probability above 0, or occasions such as at = [3]")
        self._check_duration()

    @property
    def duration_ns(self) -> int:
        """How long, or how far off."""
        ms = _MS_DEFAULTS.get(FaultName(self.name)) if self.ms is None else self.ms
        return (ms or 0) * NS_PER_MS

    def _check_duration(self) -> None:
        if self.name not in _MS_DEFAULTS:
            if self.ms is not None:
                raise ValueError(f"{self.name}: takes no ms")
        elif self.ms is None and _MS_DEFAULTS[FaultName(self.name)] is None:
            raise ValueError(f"{self.name}: expected ms, how long it lasts")
        elif self.ms is not None and self.ms < 0 and self.name != FaultName.CLOCK_SKEW:
            raise ValueError(f"{self.name}: expected ms of 0 or more, was {self.ms}")


class RememberedFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Client ids are known for so long after their order was answered, and while it works."""

    seconds: Annotated[float, msgspec.Meta(gt=0)]


class FaultsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault file. `fault` is its list of `[[fault]]` tables."""

    seed: int = 0
    client_id_memory: Literal["forever", "open", "none"] | RememberedFor = "forever"
    fault: list[Fault] = []


class FaultPlan:
    """Decides at each occasion whether a fault occurs, and counts those that did."""

    def __init__(self, config: FaultsConfig, draw: Callable[[], float]) -> None:
        """Begin to count.

        Args:
            config: The faults; occasions are counted anew by each plan, and so in each life of a process.
            draw: Gives numbers from 0 to below 1, from the seed.
        """
        self.config = config
        self.injected: Counter[str] = Counter()
        self._draw = draw
        self._occasions: Counter[str] = Counter()
        self._faults: defaultdict[str, list[Fault]] = defaultdict(list)
        for fault in config.fault:
            self._faults[fault.name].append(fault)

    def occurs(self, name: FaultName) -> Fault | None:
        """Count one occasion, and tell what goes wrong at it, if anything does."""
        faults = self._faults.get(name)
        if not faults:
            return None
        self._occasions[name] += 1
        found = None
        for fault in faults:
            # Drawn for each, so that one fault changes nothing about the numbers of the others.
            is_drawn = fault.probability > 0 and self._draw() < fault.probability
            if found is None and (is_drawn or self._occasions[name] in fault.at):
                found = fault
        self.injected[name] += found is not None
        return found
