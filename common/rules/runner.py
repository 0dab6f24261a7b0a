"""One rule at work: a state for each key, what comes too late, what fails, what is too much."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from typing import Any

import msgspec

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import Message
from common.rules.finding import Answer, Finding, Output, listed
from common.rules.rule import Key, Rule
from common.rules.state import KeyState

# So many late events of a key one after another are no stragglers: its clock was set back, or was wrong before.
LATE_IN_A_ROW_MAX = 100
# Is told the rule's name and what it raised.
OnFailure = Callable[[str, Exception], None]
Slots = OrderedDict[Key, "_Slot"]


class _Slot:
    """A key's state and its time."""

    __slots__ = ("late_in_a_row", "newest_ns", "quiet_until_ns", "state")

    def __init__(self, state: KeyState, newest_ns: int) -> None:
        self.state = state
        self.newest_ns = newest_ns
        self.quiet_until_ns = newest_ns
        self.late_in_a_row = 0


class _SavedSlot(msgspec.Struct, array_like=True):
    key: str | list[str]
    newest_ns: int
    quiet_until_ns: int
    late_in_a_row: int
    state: Any


class _SavedRule(msgspec.Struct, array_like=True):
    shape: str
    slots: list[_SavedSlot]


class Runner:
    """Feeds one rule. What the rule raises is counted and told, and too much of it disables the rule."""

    def __init__(
        self, rule: Rule, *, keys_max: int, failures_max: int, failure_window_s: float, on_failure: OnFailure | None
    ) -> None:
        self.rule = rule
        self.counts: Counter[str] = Counter()
        self.disabled_reason: str | None = None
        self._keys_max = keys_max
        self._on_failure = on_failure
        self._failures: deque[int] = deque(maxlen=failures_max)
        self._failure_window_ns = round(failure_window_s * NS_PER_S)
        self._slots: Slots = OrderedDict()
        self._deadline_ns: int | None = None

    def take(self, event: Message) -> list[Output]:
        """An event of one of the rule's types."""
        if self.disabled_reason is not None:
            self.counts["events_skipped"] += 1
            return []
        try:
            slot = self._slot_for(event)
            return [] if slot is None else self._answer(slot, slot.state.take(event, slot.newest_ns), slot.newest_ns)
        except Exception as error:  # noqa: BLE001  # a rule is a guest: whatever it raises must not end its host
            self._fail(error, event.timestamp_ns)
            return []

    def advance(self, now_ns: int) -> list[Output]:
        """Let time pass for all keys."""
        if self._deadline_ns is None or now_ns <= self._deadline_ns:
            return []
        self._deadline_ns = None
        outputs: list[Output] = []
        for slot in [*self._slots.values()]:
            deadline_ns = slot.state.deadline_ns
            if deadline_ns is None or now_ns <= deadline_ns:
                self._note_deadline(deadline_ns)
                continue
            try:
                outputs += self._answer(slot, slot.state.advance(now_ns), now_ns)
            except Exception as error:  # noqa: BLE001  # as in `take`
                self._note_deadline(slot.state.deadline_ns)
                self._fail(error, now_ns)
        return outputs

    def save_state(self) -> list[Any]:
        """Plain data: the rule's shape, and each key from the one unseen for longest to the newest."""
        slots = [
            [
                [*key] if isinstance(key, tuple) else key,
                slot.newest_ns,
                slot.quiet_until_ns,
                slot.late_in_a_row,
                slot.state.save_state(),
            ]
            for key, slot in self._slots.items()
        ]
        return [self.rule.shape, slots]

    def read_state(self, saved: Any) -> Slots | None:
        """Slots of what `save_state` gave, or None where the rule has changed since.

        Raises:
            InvalidValueError: It is damaged.
        """
        try:
            given = msgspec.convert(saved, _SavedRule)
        except msgspec.ValidationError as error:
            raise InvalidValueError(f"saved rule {self.rule.name}: {error}") from error
        if given.shape != self.rule.shape:
            return None
        slots: Slots = OrderedDict()
        for each in given.slots[-self._keys_max :]:
            slot = _Slot(self.rule.make_state(self.counts), each.newest_ns)
            slot.quiet_until_ns, slot.late_in_a_row = each.quiet_until_ns, each.late_in_a_row
            slot.state.load_state(each.state)
            slots[tuple(each.key) if isinstance(each.key, list) else each.key] = slot
        return slots

    def go_on_from(self, slots: Slots) -> None:
        """Take over what was read."""
        self._slots = slots
        for slot in slots.values():
            self._note_deadline(slot.state.deadline_ns)

    def _slot_for(self, event: Message) -> _Slot | None:
        """The state of the event's key, or None where it comes too late."""
        key = self.rule.key_of(event)
        slot = self._slots.get(key)
        now_ns = event.timestamp_ns
        if slot is None:
            return self._begin(key, now_ns)
        self._slots.move_to_end(key)
        if now_ns >= slot.newest_ns:
            slot.newest_ns = now_ns
        elif now_ns >= slot.newest_ns - self.rule.lateness_ns:
            self.counts["events_out_of_order"] += 1
        else:
            self.counts["events_late"] += 1
            slot.late_in_a_row += 1
            if slot.late_in_a_row < LATE_IN_A_ROW_MAX:
                return None
            self.counts["keys_begun_anew"] += 1
            del self._slots[key]
            return self._begin(key, now_ns)
        slot.late_in_a_row = 0
        return slot

    def _begin(self, key: Key, now_ns: int) -> _Slot:
        if not _is_key(key):
            raise TypeError(f"per: expected a text or a tuple of texts as a key, was {key!r}")
        if len(self._slots) >= self._keys_max:
            self._slots.popitem(last=False)
            self.counts["keys_dropped"] += 1
        slot = self._slots[key] = _Slot(self.rule.make_state(self.counts), now_ns)
        return slot

    def _answer(self, slot: _Slot, answer: Answer, now_ns: int) -> list[Output]:
        self._note_deadline(slot.state.deadline_ns)
        if answer is None:
            return []
        outputs = listed(answer)
        if not outputs:
            return outputs
        if now_ns < slot.quiet_until_ns:
            self.counts["outputs_suppressed"] += len(outputs)
            return []
        slot.quiet_until_ns = now_ns + self.rule.cooldown_ns
        self.counts["outputs"] += len(outputs)
        return [self._named(output) for output in outputs]

    def _fail(self, error: Exception, now_ns: int) -> None:
        self.counts["failures"] += 1
        self._failures.append(now_ns)
        is_full = len(self._failures) == self._failures.maxlen
        if is_full and now_ns - self._failures[0] <= self._failure_window_ns:
            self.disabled_reason = (
                f"{len(self._failures)} failures within {self._failure_window_ns / NS_PER_S:g} s; "
                f"the last: {type(error).__name__}: {error}"
            )
            self._slots.clear()
            self._deadline_ns = None
        if self._on_failure is not None:
            self._on_failure(self.rule.name, error)

    def _named(self, output: Output) -> Output:
        if isinstance(output, Finding) and not output.rule:
            return msgspec.structs.replace(output, rule=self.rule.name)
        return output

    def _note_deadline(self, deadline_ns: int | None) -> None:
        if deadline_ns is not None and (self._deadline_ns is None or deadline_ns < self._deadline_ns):
            self._deadline_ns = deadline_ns


def _is_key(key: Any) -> bool:
    return isinstance(key, str) or (isinstance(key, tuple) and all(isinstance(part, str) for part in key))
