"""Gives a newly built engine what a tape says, and holds what it decides against what was decided then.

Pure: whoever runs it finds the market messages. Nothing here can send; what the engine would send is thrown away.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from common.events.base import ListedMessage, Message
from common.instruments import InstrumentTable
from common.wire.codec import decode_body, encode_body
from strategy.base import Strategy
from strategy.checkpoint import Checkpoint
from strategy.engine import Engine
from strategy.outbox import Instruction, Kept
from strategy.tape.notes import (
    BROKEN,
    AnyNote,
    Emitted,
    Ended,
    EventTaken,
    Failed,
    Head,
    MarketCall,
    OutgoingTaken,
    Reference,
    Snapshot,
    StateAsked,
    Stopped,
    TimePassed,
)

INPUTS_SHOWN = 4  # the one that the decision was made in, and those just before
EVENTS_SHOWN = 4

_Called = tuple[int, str, Message | None]
Find = Callable[[Reference], Message]
OnProgress = Callable[[int], object]


class Input(msgspec.Struct, frozen=True):
    """One call of the engine, as a reader sees it: when (ns UTC), what, and the message's fields where there is one."""

    now_ns: int
    call: str
    message: dict[str, Any] | None = None


class Field(msgspec.Struct, frozen=True):
    """One field in which two instructions may differ; None where it is absent."""

    name: str
    live: Any
    replayed: Any

    @property
    def is_different(self) -> bool:
        """Tell whether they do."""
        return bool(self.live != self.replayed)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first decision that is not the same. `live` and `replayed` are instructions; None where there is none.

    `inputs` are the engine's newest calls, oldest first; the last one is that in which it decided. `events` are the
    newest ones with an event of the executor, which many ticks may have followed.
    """

    number: int
    inputs: list[Input]
    events: list[Input]
    position: dict[str, Any] | None
    open_orders: list[dict[str, Any]]
    live: dict[str, Any] | None
    replayed: dict[str, Any] | None
    fields: list[Field]


class Comparison(msgspec.Struct, kw_only=True):
    """What a comparison has found. Counts are those up to its end, or to the first difference."""

    calls: int = 0
    decisions: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    failures_live: int = 0
    failures_replayed: int = 0
    first_failure: str | None = None
    ended: str | None = None  # the mark of the tape; without one its process was killed, or still runs
    difference: Difference | None = None


class _Nowhere:
    """What an earlier life has left, and no place for anything new."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def load(self) -> Kept:
        return self._kept

    def add(self, instructions: Sequence[Instruction], checkpoint: Checkpoint) -> None:
        pass

    def remove(self, ids: Sequence[str]) -> None:
        pass


class Comparer:
    """One engine on one tape."""

    def __init__(self, head: Head, strategy_type: type[Strategy], parameters: msgspec.Struct, find: Find) -> None:
        """Build the engine that the head describes, with this code and these parameters."""
        self.found = Comparison()
        self._find = find
        self._emitted: deque[Instruction] = deque()
        self._inputs: deque[_Called] = deque(maxlen=INPUTS_SHOWN)
        self._events: deque[_Called] = deque(maxlen=EVENTS_SHOWN)
        self._engine = Engine(
            name=head.name,
            epoch=head.epoch,
            config=head.config,
            instruments=InstrumentTable(head.instruments),
            strategy_type=strategy_type,
            parameters=parameters,
            store=_Nowhere(_kept_of(head)),
            on_failure=self._on_failure,
            on_emitted=self._emitted.append,
        )

    def run(self, notes: Iterable[AnyNote | MarketCall], on_progress: OnProgress | None = None) -> Comparison:
        """Go on until the tape ends or a decision differs; `on_progress` is told the calls so far, now and then.

        Raises:
            CannotCompareError: As `find` does.
        """
        for note in notes:
            if isinstance(note, Emitted):
                self._compare(note.body)
            elif isinstance(note, Failed):
                self.found.failures_live += 1
            elif isinstance(note, Ended):
                self.found.ended = note.reason
                break
            elif self._emitted:
                self._compare(None)
            else:
                self._call(note)
                if on_progress is not None and self.found.calls % 10_000 == 0:
                    on_progress(self.found.calls)
            if self.found.difference is not None:
                return self.found
        if self._emitted and self.found.ended != BROKEN:
            self._compare(None)
        return self.found

    def _call(self, note: Any) -> None:
        found, now_ns = self.found, note.now_ns
        call, message = _CALLS[type(note)], self._message_of(note)
        called = (now_ns, call.__name__, message)
        self._inputs.append(called)
        if isinstance(note, EventTaken):
            self._events.append(called)
        found.calls += 1
        found.first_ns, found.last_ns = now_ns if found.first_ns is None else found.first_ns, now_ns
        if message is None:
            call(self._engine, now_ns)
        else:
            call(self._engine, message, now_ns)

    def _message_of(self, note: Any) -> Message | None:
        if isinstance(note, MarketCall):
            return self._find(note.reference)
        return decode_body(note.body) if isinstance(note, Snapshot | EventTaken) else None

    def _compare(self, live_body: bytes | None) -> None:
        replayed = self._emitted.popleft() if self._emitted else None
        if live_body is not None and replayed is not None and encode_body(replayed) == live_body:
            self.found.decisions += 1
            return
        live = None if live_body is None else decode_body(live_body)
        self.found.difference = self._difference(live, replayed)

    def _difference(self, live: Message | None, replayed: Message | None) -> Difference:
        listed = live or replayed
        position, orders = None, []
        if isinstance(listed, ListedMessage):
            portfolio = self._engine.portfolio
            position = msgspec.to_builtins(portfolio.position(listed))
            orders = [msgspec.to_builtins(order) for order in portfolio.open_orders(listed)]
        live_fields, replayed_fields = _plain(live), _plain(replayed)
        names = dict.fromkeys([*(live_fields or {}), *(replayed_fields or {})])
        return Difference(
            number=self.found.decisions + 1,
            inputs=_described(self._inputs),
            events=_described(self._events),
            position=position,
            open_orders=orders,
            live=live_fields,
            replayed=replayed_fields,
            fields=[Field(name, (live_fields or {}).get(name), (replayed_fields or {}).get(name)) for name in names],
        )

    def _on_failure(self, callback: str, error: Exception) -> None:
        self.found.failures_replayed += 1
        if self.found.first_failure is None:
            self.found.first_failure = f"{callback}: {type(error).__name__}: {error}"


_CALLS: dict[type[Any], Callable[..., object]] = {
    MarketCall: Engine.on_market,
    Snapshot: Engine.on_snapshot,
    EventTaken: Engine.on_event,
    TimePassed: Engine.on_time,
    StateAsked: Engine.request_state,
    Stopped: Engine.stop,
    OutgoingTaken: Engine.take_outgoing,
}


def _kept_of(head: Head) -> Kept:
    kept = [decode_body(body) for body in head.kept]
    return Kept(
        instructions=[message for message in kept if isinstance(message, Instruction)],
        last_id=head.last_id,
        checkpoint=head.checkpoint,
    )


def _described(calls: Iterable[_Called]) -> list[Input]:
    return [Input(now_ns, call, _plain(message)) for now_ns, call, message in calls]


def _plain(message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    plain: dict[str, Any] = msgspec.to_builtins(message)
    return plain
