"""Sequences: one event, then another within a time, and not a third; or one event and then silence.

    sequence(OrderSubmitted).then(OrderFilled, within_s=2).unless(OrderCancelled)
    sequence(OrderSubmitted).without(OrderAccepted, within_s=1)

Each first event begins a match of its own. A match takes, for each step, the first event that fits it, and passes over
all others; one event may serve several matches. The order is that of arrival; the distance of two steps is that of
their event times, and a negative one, within the allowed lateness, counts as none.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import Message
from common.rules.finding import Answer, Output, listed
from common.rules.state import KeyState, decode_event, encode_event

Matched = tuple[Message, ...]
# Is given the event and what the match has taken before it, oldest first.
Where = Callable[[Any, tuple[Any, ...]], bool]
MATCHES_MAX_DEFAULT = 1_000


class Condition(msgspec.Struct, frozen=True):
    """Which events fit: their types, and what else must hold."""

    types: tuple[type[Message], ...]
    where: Where | None = None

    def fits(self, event: Message, matched: Matched) -> bool:
        """Tell whether an event fits after what was matched."""
        return isinstance(event, self.types) and (self.where is None or bool(self.where(event, matched)))


class Step(msgspec.Struct, frozen=True):
    """What must come, or must not come, within a time of the step before; and what must not come in between."""

    test: Condition
    within_ns: int
    is_absent: bool = False
    unless: tuple[Condition, ...] = ()


class Sequence(msgspec.Struct, frozen=True):
    """A pattern; made by `sequence`."""

    first: Condition
    steps: tuple[Step, ...] = ()
    matches_max: int = MATCHES_MAX_DEFAULT

    def then(self, *types: type[Message], within_s: float, where: Where | None = None) -> "Sequence":
        """Ask for an event of one of these types, at most `within_s` seconds of event time after the step before."""
        return self._add(Step(_condition(types, where), _ns(within_s)))

    def without(self, *types: type[Message], within_s: float, where: Where | None = None) -> "Sequence":
        """Ask that no such event comes until `within_s` seconds after the step before; the last step of a pattern.

        It is known when event time has passed that moment by the allowed lateness: through an event of the same key,
        or through `advance`.
        """
        return self._add(Step(_condition(types, where), _ns(within_s), is_absent=True))

    def unless(self, *types: type[Message], where: Where | None = None) -> "Sequence":
        """Give a match up where such an event comes between the step before and the one just asked for.

        Raises:
            InvalidValueError: The last call was not `then`.
        """
        if not self.steps or self.steps[-1].is_absent:
            raise InvalidValueError("sequence: expected then(...) before unless(...)")
        *before, step = self.steps
        step = msgspec.structs.replace(step, unless=(*step.unless, _condition(types, where)))
        return msgspec.structs.replace(self, steps=(*before, step))

    def types(self) -> tuple[type[Message], ...]:
        """Every type that the pattern looks at."""
        tests = [self.first, *(test for step in self.steps for test in (step.test, *step.unless))]
        return tuple(dict.fromkeys(each for test in tests for each in test.types))

    def shape(self) -> str:
        """What must be equal for saved matches to fit."""
        parts = [_names(self.first)]
        for step in self.steps:
            unless = "".join(f"!{_names(test)}" for test in step.unless)
            parts.append(f"{'-' if step.is_absent else '+'}{_names(step.test)}<{step.within_ns}{unless}")
        return "".join(parts)

    def _add(self, step: Step) -> "Sequence":
        if self.steps and self.steps[-1].is_absent:
            raise InvalidValueError("sequence: expected without(...) as the last step")
        return msgspec.structs.replace(self, steps=(*self.steps, step))


def sequence(*types: type[Message], where: Where | None = None, matches_max: int = MATCHES_MAX_DEFAULT) -> Sequence:
    """Begin a pattern with an event of one of these types; at least one step must follow.

    Args:
        *types: Message types; a base class stands for all of its kinds.
        where: What else must hold; is given the event and what was matched before it, which is nothing here.
        matches_max: How many unfinished matches a key may have; beyond, the oldest is given up (`matches_dropped`).

    Raises:
        InvalidValueError: There is no type, or the limit is below 1.
    """
    if matches_max < 1:
        raise InvalidValueError(f"sequence: expected matches_max of 1 or more, was {matches_max}")
    return Sequence(_condition(types, where), matches_max=matches_max)


def _condition(types: tuple[Any, ...], where: Where | None) -> Condition:
    if not types or not all(isinstance(each, type) and issubclass(each, Message) for each in types):
        raise InvalidValueError(f"sequence: expected one or more message types, was {types}")
    return Condition(types, where)


def _ns(seconds: float) -> int:
    if not 0 < seconds <= 7 * 86_400:
        raise InvalidValueError(f"sequence: expected within_s above 0 and up to 7 days, was {seconds}")
    return max(round(seconds * NS_PER_S), 1)


def _names(test: Condition) -> str:
    return "|".join(each.__name__ for each in test.types)


class _Match(msgspec.Struct, frozen=True):
    matched: Matched

    def time_ns(self) -> int:
        return self.matched[-1].timestamp_ns


class Matching(KeyState):
    """The unfinished matches of one key, oldest first, and a function that is given the finished ones."""

    def __init__(
        self, pattern: Sequence, function: Callable[[Matched], Answer], lateness_ns: int, counts: "Counter[str]"
    ) -> None:
        self._pattern = pattern
        self._function = function
        self._lateness_ns = lateness_ns
        self._counts = counts
        self._matches: deque[_Match] = deque()

    def take(self, event: Message, now_ns: int) -> list[Output]:
        finished, kept = self._expire(now_ns)
        going_on: deque[_Match] = deque()
        for match in kept:
            step = self._step_after(match)
            distance_ns = event.timestamp_ns - match.time_ns()
            if any(test.fits(event, match.matched) for test in step.unless):
                continue
            if distance_ns > step.within_ns or not step.test.fits(event, match.matched):
                going_on.append(match)
            elif not step.is_absent:
                longer = _Match((*match.matched, event))
                if len(longer.matched) > len(self._pattern.steps):
                    finished.append(longer)
                else:
                    going_on.append(longer)
        if self._pattern.first.fits(event, ()):
            going_on.append(_Match((event,)))
        if len(going_on) > self._pattern.matches_max:
            going_on.popleft()
            self._counts["matches_dropped"] += 1
        return self._finish(finished, going_on)

    def advance(self, now_ns: int) -> list[Output]:
        return self._finish(*self._expire(now_ns))

    def _step_after(self, match: _Match) -> Step:
        return self._pattern.steps[len(match.matched) - 1]

    def _expiry_ns(self, match: _Match) -> int:
        return match.time_ns() + self._step_after(match).within_ns + self._lateness_ns

    def _expire(self, now_ns: int) -> tuple[list[_Match], list[_Match]]:
        """Matches that silence has finished, and those that go on; whose time is over without is forgotten."""
        if self.deadline_ns is None or now_ns <= self.deadline_ns:
            return [], [*self._matches]
        finished, kept = [], []
        for match in self._matches:
            if self._expiry_ns(match) >= now_ns:
                kept.append(match)
            elif self._step_after(match).is_absent:
                finished.append(match)
        return finished, kept

    def _finish(self, finished: list[_Match], going_on: "list[_Match] | deque[_Match]") -> list[Output]:
        self._matches = deque(going_on)
        self.deadline_ns = min(map(self._expiry_ns, going_on), default=None)
        outputs: list[Output] = []
        for match in finished:
            outputs += listed(self._function(match.matched))
        return outputs

    def save_state(self) -> list[list[bytes]]:
        return [[encode_event(event) for event in match.matched] for match in self._matches]

    def load_state(self, state: Any) -> None:
        try:
            saved = msgspec.convert(state, list[list[bytes]])
        except msgspec.ValidationError as error:
            raise InvalidValueError(f"saved matches: {error}") from error
        matches = [_Match(tuple(decode_event(event) for event in events)) for events in saved]
        if not all(1 <= len(match.matched) <= len(self._pattern.steps) for match in matches):
            raise InvalidValueError(f"saved matches: expected 1 to {len(self._pattern.steps)} events in each")
        self._matches = deque(matches[-self._pattern.matches_max :])
        self.deadline_ns = min(map(self._expiry_ns, matches), default=None)
