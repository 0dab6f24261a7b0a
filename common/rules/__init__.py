"""Rules over events: windows, sequences, and functions that say something about them. Complex event processing.

In:    events, one at a time, in the order of their arrival; now and then the time
Out:   findings, and messages that a rule wants published
Owns:  a bounded state for each rule and key, which can be saved and goes on after a restart to the last bit
Never: reads a clock, waits, or lets one rule's failure touch another rule

    @rule(on=Tick, cooldown_s=5, spread=last_seconds(60, of=spread_bps))
    def wide(tick: Tick, spread: Window) -> Finding | None:
        return found(tick, "wide", bps=spread.last) if spread.last > 3 * spread.mean else None

    rules = RuleEngine([wide, momentum(5)])
"""

from common.rules.engine import RuleEngine
from common.rules.finding import Finding, found
from common.rules.rule import Rule, rule, rules_of
from common.rules.sequence import sequence
from common.rules.state import KeyState
from common.rules.window import Window, last, last_seconds

__all__ = [
    "Finding",
    "KeyState",
    "Rule",
    "RuleEngine",
    "Window",
    "found",
    "last",
    "last_seconds",
    "rule",
    "rules_of",
    "sequence",
]
