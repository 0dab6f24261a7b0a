"""What a rule costs for a tick, by the length of its window: one thread, no process, no socket.

Every side takes the same seeded walk. As many ticks as the longest window holds come first and are not measured. What
the windows told is compared with a recomputation that uses nothing of `common.rules`.
"""

import random
from collections.abc import Callable
from statistics import median

import msgspec
import numpy as np

from benchmarks.machine import Machine, describe_machine
from benchmarks.results import Check
from common.clock import NS_PER_S, SystemClock
from common.events.market import Tick
from common.rules import Finding, RuleEngine, Window, found, last, last_seconds, rule, sequence
from common.rules.measures import mid_price
from common.rules.rule import Rule
from common.rules.window import WindowSpec

WINDOW_COUNTS = (10, 1_000, 100_000)
TICK_NS = 20_000  # 50 k ticks/s
TOLD_EVERY = 1_000  # ticks between two findings: few, so that they cost nothing
MID_START = 6_000_000  # in cents, so that sums of it are exact
PAIRED = "sequence"


class RulesReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole benchmark; what `--json` writes. Ticks/s of each side: the median of the rounds, and each round's."""

    benchmark: str = "rules"
    machine: Machine
    tick_count: int
    rates: dict[str, float]
    rates_by_round: dict[str, list[float]]
    checks: list[list[Check]]

    @property
    def is_sound(self) -> bool:
        """Tell whether all counts add up."""
        return all(check.is_met for checks in self.checks for check in checks)


def run(tick_count: int, rounds: int, tell: Callable[[str], object]) -> RulesReport:
    """Measure each side by turns; `tell` hears what is going on."""
    machine = describe_machine()
    lead_count = max(WINDOW_COUNTS)
    mids = make_mids(lead_count + tick_count)
    ticks = [make_tick(number, mid) for number, mid in enumerate(mids)]
    rates: dict[str, list[float]] = {}
    checks: list[list[Check]] = []
    for number in range(1, rounds + 1):
        tell(f"round {number} of {rounds}")
        checks.append([])
        for side, (made, window_count) in make_sides().items():
            findings, rate = measure(made, ticks, lead_count)
            rates.setdefault(side, []).append(rate)
            checks[-1] += check_side(side, findings, mids, window_count)
    return RulesReport(
        machine=machine,
        tick_count=tick_count,
        rates={side: median(by_round) for side, by_round in rates.items()},
        rates_by_round=rates,
        checks=checks,
    )


def make_mids(count: int) -> list[int]:
    """A walk, in cents: each step up, down or none."""
    seeded = random.Random(7)  # noqa: S311  # repeatable, not secret
    mids, mid = [], MID_START
    for _ in range(count):
        mid += seeded.choice((-1, 0, 1))
        mids.append(mid)
    return mids


def make_tick(number: int, mid: int) -> Tick:
    """The tick of this place; its number is its place."""
    time_ns = number * TICK_NS
    return Tick(
        source="gateway",
        epoch=1,
        seq=number,
        timestamp_ns=time_ns,
        exchange="simulated",
        symbol="BTC/USDT",
        raw_symbol="BTCUSDT",
        local_timestamp_ns=time_ns,
        bid=mid - 1.0,
        ask=mid + 1.0,
    )


def make_sides() -> dict[str, tuple[Rule, int]]:
    """What is measured: rules with nothing, with windows, with a sequence; and what each window holds."""

    @rule(on=Tick)
    def bare(tick: Tick) -> None:
        """Costs what the engine costs."""

    @rule(on=sequence(Tick, where=_is_told).then(Tick, within_s=TICK_NS / NS_PER_S))
    def paired(matched: tuple[Tick, Tick]) -> Finding:
        return found(matched[0], "", seq=matched[0].seq)

    sides = {"no window": (bare, 0), PAIRED: (paired, 0)}
    for count in WINDOW_COUNTS:
        sides[f"last {count:,}"] = (_windowed(last(count, of=mid_price)), count)
    for count in WINDOW_COUNTS:
        seconds = count * TICK_NS / NS_PER_S
        sides[f"last {seconds:g} s ({count:,})"] = (_windowed(last_seconds(seconds, of=mid_price)), count)
    return sides


def _windowed(spec: WindowSpec) -> Rule:
    @rule(on=Tick, name="windowed", mid=spec)
    def windowed(tick: Tick, mid: Window) -> Finding | None:
        """Asks for everything that a window keeps, for each tick."""
        is_odd = mid.stddev < 0 or mid.min > mid.mean or mid.max < mid.mean or mid.rising < 0
        if is_odd or tick.seq % TOLD_EVERY == 0:
            return found(tick, "", seq=tick.seq, sum=mid.sum, min=mid.min, max=mid.max)
        return None

    return windowed


def _is_told(tick: Tick, _: tuple[Tick, ...]) -> bool:
    return tick.seq % TOLD_EVERY == 0


def measure(made: Rule, ticks: list[Tick], lead_count: int) -> tuple[list[Finding], float]:
    """Feed one rule, and give what it has found in all ticks, and how many it took in a second after the lead."""
    engine = RuleEngine([made])
    clock = SystemClock()
    outputs = []
    for tick in ticks[:lead_count]:
        outputs += engine.feed(tick)
    start_ns = clock.monotonic_ns()
    for tick in ticks[lead_count:]:
        outputs += engine.feed(tick)
    elapsed_ns = clock.monotonic_ns() - start_ns
    rate = (len(ticks) - lead_count) * NS_PER_S / elapsed_ns
    return [output for output in outputs if isinstance(output, Finding)], rate


def check_side(side: str, findings: list[Finding], mids: list[int], window_count: int) -> list[Check]:
    """Compare what was found with what there was to find."""
    if side != PAIRED and not window_count:
        return [Check(f"{side}: findings", 0, len(findings))]
    # The last tick begins a sequence that nothing ends, where one begins there.
    places = range(0, len(mids) - (side == PAIRED), TOLD_EVERY)
    agreeing = sum(
        each.values == _expected_values(mids, place, window_count)
        for place, each in zip(places, findings, strict=False)
    )
    return [
        Check(f"{side}: findings", len(places), len(findings)),
        Check(f"{side}: findings that agree", len(places), agreeing),
    ]


def _expected_values(mids: list[int], place: int, window_count: int) -> dict[str, float]:
    if not window_count:
        return {"seq": place}
    held = np.array(mids[max(0, place + 1 - window_count) : place + 1])
    return {"seq": place, "sum": int(held.sum()), "min": int(held.min()), "max": int(held.max())}
