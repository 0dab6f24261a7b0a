"""Histories by number: a seed and a scenario in, a result out. The same in, the same out, on any machine."""

import msgspec

from chaos.facts import Violation
from chaos.faults import SCENARIOS
from chaos.invariants import undecided
from chaos.plans import Plan, draw_plan
from chaos.world import World


class HistoryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one history. `rested_ms`: virtual time from healing until nothing was open any more."""

    scenario: str
    seed: int
    counts: dict[str, int]
    violations: list[Violation]
    unresolved_count: int
    rested_ms: float | None
    fingerprint: str

    @property
    def command(self) -> str:
        """What repeats it."""
        return f"tickpulse chaos --simulated --seeds 1 --first {self.seed} --scenario {self.scenario} --verbose"

    def count_of(self, invariant: str) -> int:
        """How often a promise did not hold."""
        return sum(violation.invariant == invariant for violation in self.violations)


def scenario_of(seed: int, name: str | None) -> str:
    """The scenario of a seed: the one that was asked for, or all of them by turns."""
    return name or list(SCENARIOS)[seed % len(SCENARIOS)]


def run_history(name: str, seed: int, plan: Plan | None = None) -> HistoryResult:
    """Run one history.

    Args:
        name: The scenario.
        seed: Decides everything else.
        plan: Instead of what the seed has in store.
    """
    scenario = SCENARIOS[name]
    world = World(scenario, seed, plan or draw_plan(scenario, seed))
    ending = world.run()
    facts = world.facts
    return HistoryResult(
        scenario=name,
        seed=seed,
        counts={**facts.counts, "signals": len(facts.emitted), "executions": len(ending.executions)},
        violations=facts.violations,
        unresolved_count=len(undecided(ending)),
        rested_ms=world.rested_ms,
        fingerprint=world.fingerprint(),
    )
