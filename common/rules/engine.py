"""The rules of a strategy or a worker, fed one event at a time. No clock, no thread, no loop of its own.

rules = RuleEngine([momentum(), spread_widening(window_s=60)])
for event in events:
    for output in rules.feed(event):
        ...
rules.advance(now_ns)       # now and then, for what did not happen
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.market import Tick, Ticks
from common.events.packing import unpack_ticks
from common.metrics import merge_counters
from common.rules.finding import Output
from common.rules.rule import Rule
from common.rules.runner import OnFailure, Runner

KEYS_MAX_DEFAULT = 10_000
FAILURES_MAX_DEFAULT = 5  # fewer than the ten that halt a strategy: the rule goes first
FAILURE_WINDOW_S_DEFAULT = 60.0


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    rules: dict[str, Any]


class RuleEngine:
    """Rules by name. The same events in the same order give the same outputs."""

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        keys_max: int = KEYS_MAX_DEFAULT,
        failures_max: int = FAILURES_MAX_DEFAULT,
        failure_window_s: float = FAILURE_WINDOW_S_DEFAULT,
        on_failure: OnFailure | None = None,
    ) -> None:
        """Take rules; more may be added.

        Args:
            rules: Each with a name of its own.
            keys_max: States that a rule may have; beyond, the key unseen for longest is forgotten (`keys_dropped`).
            failures_max: So many exceptions of a rule within `failure_window_s` of event time disable it.
            failure_window_s: As above.
            on_failure: Is told of each exception.

        Raises:
            InvalidValueError: A limit is below 1, or two rules have one name.
        """
        if keys_max < 1 or failures_max < 1 or failure_window_s <= 0:
            raise InvalidValueError(
                "rules: expected keys_max and failures_max of 1 or more and failure_window_s above 0, "
                f"was {keys_max}, {failures_max} and {failure_window_s}"
            )
        self._limits = {"keys_max": keys_max, "failures_max": failures_max}
        self._failure_window_s = failure_window_s
        self._on_failure = on_failure
        self._runners: dict[str, Runner] = {}
        self._runners_of: dict[type[Message], list[Runner]] = {}
        self._counts = {"events": 0, "states_unfit": 0}
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Take one more rule.

        Raises:
            InvalidValueError: It is no rule, or its name is taken.
        """
        if not isinstance(rule, Rule):
            raise InvalidValueError(f"rules: expected what @rule makes, was {rule!r}")
        if rule.name in self._runners:
            raise InvalidValueError(f"rules: expected a name of its own for each rule, was {rule.name} twice")
        self._runners[rule.name] = Runner(
            rule, **self._limits, failure_window_s=self._failure_window_s, on_failure=self._on_failure
        )
        self._runners_of.clear()

    def feed(self, event: Message) -> list[Output]:
        """Hand an event to every rule that wants its kind; a batch of ticks is handed over tick by tick.

        Raises:
            ValueError: A batch of ticks is malformed. No rule has seen any of it.
        """
        if type(event) is Ticks and self._find(Tick):
            return [output for tick in unpack_ticks(event) for output in self._feed(tick)]
        return self._feed(event)

    def advance(self, now_ns: int) -> list[Output]:
        """Let time pass. Every event up to `now_ns` must have been fed: what has not come by then is absent."""
        return [output for runner in self._runners.values() for output in runner.advance(now_ns)]

    @property
    def disabled(self) -> dict[str, str]:
        """Rules that have failed too often, by name, with the reason."""
        return {
            name: runner.disabled_reason for name, runner in self._runners.items() if runner.disabled_reason is not None
        }

    def counters(self) -> dict[str, int]:
        """What all rules together counted: events, outputs, failures, and whatever was passed over or dropped."""
        total = merge_counters([self._counts, *(runner.counts for runner in self._runners.values())])
        return {**total, "rules_disabled": len(self.disabled)}

    def counters_by_rule(self) -> dict[str, dict[str, int]]:
        """The same for each rule."""
        return {name: dict(runner.counts) for name, runner in self._runners.items()}

    def save_state(self) -> dict[str, Any]:
        """Everything that the next life needs to go on as if nothing had been: plain data, as MessagePack holds it."""
        return {"rules": {name: runner.save_state() for name, runner in self._runners.items()}}

    def load_state(self, state: Any) -> None:
        """Go on from what `save_state` gave. A rule that is new or has changed since begins empty (`states_unfit`).

        Raises:
            InvalidValueError: It is damaged. Nothing was changed.
        """
        try:
            saved = msgspec.convert(state, _Saved).rules
        except msgspec.ValidationError as error:
            raise InvalidValueError(f"saved rules: {error}") from error
        read = {name: self._runners[name].read_state(each) for name, each in saved.items() if name in self._runners}
        for name, slots in read.items():
            if slots is None:
                self._counts["states_unfit"] += 1
            else:
                self._runners[name].go_on_from(slots)
        self._counts["states_unfit"] += len(saved.keys() - read.keys())

    def _feed(self, event: Message) -> list[Output]:
        self._counts["events"] += 1
        runners = self._runners_of.get(type(event))
        if runners is None:
            runners = self._find(type(event))
        outputs: list[Output] = []
        for runner in runners:
            outputs += runner.take(event)
        return outputs

    def _find(self, event_type: type[Message]) -> list[Runner]:
        runners = self._runners_of.get(event_type)
        if runners is None:
            runners = [each for each in self._runners.values() if issubclass(event_type, each.rule.on)]
            self._runners_of[event_type] = runners
        return runners
