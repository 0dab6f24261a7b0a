"""Fill without a position change: an order was filled, and no position event says so."""

from collections import Counter, deque
from typing import Any

import msgspec

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import Message
from common.events.risk import Severity
from common.events.trading import OrderEvent, PositionEvent
from common.rules.finding import Finding, found
from common.rules.rule import LATENESS_S_DEFAULT, Rule, rule
from common.rules.state import KeyState, decode_event, encode_event

WAITING_MAX = 1_000


def fill_without_position(*, within_s: float = 2.0) -> Rule:
    """Tell of each fill that no position event of its strategy and symbol goes with.

    Rule: an order event with a `last_quantity` is a fill. Each fill needs one position event of the same strategy,
    exchange and symbol whose time is at most `within_s` seconds before or after; each position event serves one fill,
    the oldest that waits. The executor tells the position first and the fill at the same time, so on a sound stream
    nothing waits. A position event of a trade that was cancelled or corrected has no fill; it may serve another one
    for `within_s` seconds, and hide that its own is missing.

    It is told once event time, of the same strategy and symbol or by `advance`, has passed `within_s` and a second of
    lateness. At most 1,000 fills of a key wait; beyond, the oldest is forgotten (`fills_dropped`).

    Values: `quantity` (base units), `price` (quote units). Severity: critical; book and account may differ.

    Raises:
        InvalidValueError: `within_s` is not above 0 and up to an hour.
    """
    if not 0 < within_s <= 3_600:
        raise InvalidValueError(f"fill_without_position: expected within_s above 0 and up to 3600, was {within_s}")
    named = rule(on=(OrderEvent, PositionEvent), per=("strategy", "exchange", "symbol"), name="fill_without_position")
    made = named(_Pairing)
    return msgspec.structs.replace(
        made,
        shape=f"{made.shape}:{within_s}",
        make=lambda _function, counts: _Pairing(round(within_s * NS_PER_S), counts),
    )


class _Saved(msgspec.Struct, array_like=True):
    fills: list[bytes]
    positions_ns: list[int]


class _Pairing(KeyState):
    """Fills that wait for a position event, and position events that wait for a fill, oldest first."""

    def __init__(self, within_ns: int = 2 * NS_PER_S, counts: "Counter[str] | None" = None) -> None:
        self._within_ns = within_ns
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._fills: deque[OrderEvent] = deque()
        self._positions_ns: deque[int] = deque(maxlen=WAITING_MAX)

    def take(self, event: Message, now_ns: int) -> list[Finding]:
        findings = self.advance(now_ns)
        time_ns = event.timestamp_ns
        if isinstance(event, PositionEvent):
            fill = next((each for each in self._fills if self._is_near(each.timestamp_ns, time_ns)), None)
            if fill is None:
                self._positions_ns.append(time_ns)
            else:
                self._fills.remove(fill)
        elif isinstance(event, OrderEvent) and event.last_quantity is not None:
            position_ns = next((each for each in self._positions_ns if self._is_near(each, time_ns)), None)
            if position_ns is None:
                self._fills.append(event)
            else:
                self._positions_ns.remove(position_ns)
        if len(self._fills) > WAITING_MAX:
            self._fills.popleft()
            self._counts["fills_dropped"] += 1
        self._set_deadline()
        return findings

    def advance(self, now_ns: int) -> list[Finding]:
        limit_ns = now_ns - self._grace_ns
        missing = [fill for fill in self._fills if fill.timestamp_ns < limit_ns]
        if missing:
            self._fills = deque(fill for fill in self._fills if fill.timestamp_ns >= limit_ns)
        while self._positions_ns and self._positions_ns[0] < limit_ns:
            self._positions_ns.popleft()
        self._set_deadline()
        return [self._find(fill) for fill in missing]

    def save_state(self) -> list[Any]:
        return [[encode_event(fill) for fill in self._fills], [*self._positions_ns]]

    def load_state(self, state: Any) -> None:
        try:
            saved = msgspec.convert(state, _Saved)
        except msgspec.ValidationError as error:
            raise InvalidValueError(f"saved fills: {error}") from error
        fills = [decode_event(fill) for fill in saved.fills]
        self._fills = deque(fill for fill in fills if isinstance(fill, OrderEvent))
        self._positions_ns = deque(saved.positions_ns, maxlen=WAITING_MAX)
        self._set_deadline()

    @property
    def _grace_ns(self) -> int:
        return self._within_ns + round(LATENESS_S_DEFAULT * NS_PER_S)

    def _is_near(self, one_ns: int, other_ns: int) -> bool:
        return abs(one_ns - other_ns) <= self._within_ns

    def _set_deadline(self) -> None:
        oldest_ns = min((fill.timestamp_ns for fill in self._fills), default=None)
        self.deadline_ns = None if oldest_ns is None else oldest_ns + self._grace_ns

    def _find(self, fill: OrderEvent) -> Finding:
        return found(
            fill,
            f"strategy {fill.strategy}: no position event within {self._within_ns / NS_PER_S:g} s of a fill of "
            f"{fill.last_quantity} of order {fill.client_order_id}",
            severity=Severity.CRITICAL,
            quantity=float(fill.last_quantity or 0),
            price=float(fill.last_price or 0),
        )
