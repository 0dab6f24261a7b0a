"""An engine that notes everything that comes in and every instruction that it emits. Decides as the plain one does.

A market message costs the hot path two appends; what a note is made of is encoded later, by `TapeEncoder`.
"""

from typing import Any

from common.errors import FatalError
from common.events.base import Message
from common.events.market import Tick
from common.events.trading import StateRequested
from common.wire.codec import encode_body
from strategy.engine import Engine
from strategy.outbox import Kept
from strategy.tape.notes import (
    BROKEN,
    Emitted,
    Ended,
    EventTaken,
    Failed,
    Note,
    OutgoingTaken,
    Snapshot,
    StateAsked,
    Stopped,
    TimePassed,
)

ERROR_CHARACTERS_MAX = 300


class TapedEngine(Engine):
    """Takes the arguments of `Engine`; `noted` is for `TapeEncoder.block`, and whoever encodes it clears it."""

    def __init__(self, **arguments: Any) -> None:
        self.noted: list[Any] = []
        super().__init__(**arguments, on_emitted=lambda instruction: self._note(Emitted(encode_body(instruction))))

    @property
    def kept(self) -> Kept:
        """What an earlier life had left when this one began."""
        return self._emitter.kept

    def request_state(self, now_ns: int) -> StateRequested:
        self._note(StateAsked(now_ns))
        return super().request_state(now_ns)

    def on_market(self, message: Message, now_ns: int) -> None:
        self.noted += (message, now_ns)
        Engine.on_market(self, message, now_ns)

    def on_snapshot(self, tick: Tick, now_ns: int) -> None:
        self._note(Snapshot(now_ns, encode_body(tick)))
        super().on_snapshot(tick, now_ns)

    def on_event(self, message: Message, now_ns: int) -> None:
        if getattr(message, "strategy", None) == self.name:
            self._note(EventTaken(now_ns, encode_body(message)))
            super().on_event(message, now_ns)

    def on_time(self, now_ns: int) -> None:
        if self._has_work_at(now_ns):
            self._note(TimePassed(now_ns))
        try:
            super().on_time(now_ns)
        except FatalError:  # of the outbox's store; what the strategy would have done after it, it did not do
            self._note(Ended(BROKEN))
            raise

    def stop(self, now_ns: int) -> None:
        self._note(Stopped(now_ns))
        super().stop(now_ns)

    def take_outgoing(self, now_ns: int) -> list[Message]:
        if self.has_new_outgoing:
            self._note(OutgoingTaken(now_ns))
        return super().take_outgoing(now_ns)

    def on_failure(self, callback_name: str, error: Exception) -> None:
        self._note(Failed(callback_name, f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]))
        super().on_failure(callback_name, error)

    def _has_work_at(self, now_ns: int) -> bool:
        """Tell whether `on_time` can change a decision; else it forgets what has ended, which decides nothing.

        What it does at once while something waits to be taken, or after the stop, is not told apart.
        """
        return (
            self.has_new_outgoing
            or self.is_stopped
            or (self.is_started and now_ns >= self._next_timer_ns)
            or (self._is_begun and now_ns >= self._next_checkpoint_ns)
            or (self._is_begun and bool(self._taken) and now_ns > self._taken_until_ns)
        )

    def _note(self, note: Note) -> None:
        self.noted += (note, None)
