"""What a rule keeps for one key, and the first kind of it: windows with a function over them."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.registry import AnyMessage
from common.rules.finding import Answer
from common.rules.window import Window, WindowSpec

VALUE_MAX = 1e100  # its square, and the sum of ten million of them, is a float

encode_event = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(AnyMessage).decode


def decode_event(body: bytes) -> Message:
    """The event that `encode_event` wrote.

    Raises:
        InvalidValueError: It is damaged, or of a type that is not in the registry.
    """
    try:
        event: Message = _decode(body)
    except msgspec.DecodeError as error:
        raise InvalidValueError(f"saved event: {error}") from error
    return event


class KeyState:
    """Base of what a rule keeps for one key. A rule that is a class derives from it and overrides what it needs."""

    deadline_ns: int | None = None
    """When `advance` must be called at the latest, if nothing comes before; None: not at all."""

    def take(self, event: Message, now_ns: int) -> Answer:
        """An event of this key. `now_ns` is the newest event time of the key, never earlier than the event's own."""
        raise NotImplementedError(f"{type(self).__name__}: expected a method take(event, now_ns)")

    def advance(self, now_ns: int) -> Answer:
        """No event up to this time, that has not been taken, will come."""

    def save_state(self) -> Any:
        """Plain data that `load_state` of the next life takes."""

    def load_state(self, state: Any) -> None:
        """Go on from there; raise InvalidValueError where it cannot be used."""


class _Intake:
    """One window and how it gets its values."""

    __slots__ = ("before", "of", "takes", "window")

    def __init__(self, spec: WindowSpec) -> None:
        self.of = spec.of
        self.takes = spec.takes
        self.window = Window(spec.count_max, spec.span_ns)
        self.before: float | None = None

    def take(self, event: Message, now_ns: int) -> bool:
        """Tell whether the window has a new value."""
        given = self.of(event)
        if given is None:
            self.window.expire(now_ns)
            return False
        value = float(given)
        if not -VALUE_MAX <= value <= VALUE_MAX:  # NaN is in no range
            self.window.expire(now_ns)
            return False
        before, self.before = self.before, value
        if self.takes == "changes" and value == before:
            self.window.expire(now_ns)
            return False
        if self.takes == "steps":
            if before is None:
                return False
            value -= before
        self.window.push(value, now_ns)
        return True


class Windowed(KeyState):
    """Windows, and a function that is called when one of them has a new value; always, where there are none."""

    def __init__(
        self, specs: Sequence[WindowSpec], function: Callable[..., Answer], counts: "Counter[str] | None" = None
    ) -> None:
        self._intakes = [_Intake(spec) for spec in specs]
        self._windows = [intake.window for intake in self._intakes]
        self._function = function
        self._counts: Counter[str] = Counter() if counts is None else counts

    def take(self, event: Message, now_ns: int) -> Answer:
        is_new = not self._intakes
        for intake in self._intakes:
            cut_before = intake.window.values_cut
            if intake.take(event, now_ns):
                is_new = True
                if intake.window.values_cut != cut_before:
                    self._counts["values_cut"] += 1
        if is_new:
            return self._function(event, *self._windows)
        self._counts["events_without_value"] += 1
        return None

    def save_state(self) -> list[Any]:
        return [[intake.before, intake.window.save_state()] for intake in self._intakes]

    def load_state(self, state: Any) -> None:
        if not (isinstance(state, list) and len(state) == len(self._intakes)):
            raise InvalidValueError(f"saved rule: expected {len(self._intakes)} windows")
        for intake, saved in zip(self._intakes, state, strict=True):
            if not (isinstance(saved, list) and len(saved) == 2 and isinstance(saved[0], float | None)):
                raise InvalidValueError("saved rule: expected the value before and a window")
            intake.before = saved[0]
            intake.window.load_state(saved[1])
