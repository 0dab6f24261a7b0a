"""Risk domain: who may trade and what stands in the way: kill switch, limits, alarms, and an operator's commands."""

import enum
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec

from common.events.base import Code, Command, Count, Event, EventId, Id, Name, Priority, Reply, Scope, Text, Word

Score = Annotated[float, msgspec.Meta(ge=0, le=1)]


class TradingState(enum.StrEnum):
    """What is allowed, from all to nothing. Cancels always pass."""

    ACTIVE = "active"
    REDUCING = "reducing"  # only orders that make a position smaller
    HALTED = "halted"  # no order


class TradingStateChanged(
    Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Risk.TradingState.Changed.v1"
):
    """The kill switch was moved. `scope` is `all`, `strategy:NAME` or `symbol:EXCHANGE.SYMBOL`.

    `by` is a person's name for a command; `limit:CODE`, `contact:PEER` or `reconciliation` for what moved it by itself.
    """

    kind: ClassVar[str] = "trading_state_changed"
    priority = Priority.CRITICAL
    emitters = ("executor",)

    scope: Name
    state: TradingState
    by: Name
    reason: Text

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.scope}"


class CircuitState(enum.StrEnum):
    """The circuit breaker between executor and exchange gateway."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # exactly one request is under way, to see whether it answers


class Severity(enum.StrEnum):
    """How soon a person should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlarmRaised(Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="System.Alarm.Raised.v1"):
    """Something that the people on call must hear.

    `code` is UPPER_CASE, such as CIRCUIT_OPEN, ORDER_ADOPTED, POSITION_MISMATCH, STRATEGY_STATE_LOST or PROCESS_HUNG.
    """

    kind: ClassVar[str] = "alarm"
    priority = Priority.HIGH
    emitters = ("exchange", "executor", "recorder", "watchdog")

    code: Name
    severity: Severity
    subject: Text
    detail: Text

    def topic(self) -> str:
        return f"{self.kind}.{self.source}.{self.code}"


class MarginCalled(Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Risk.Margin.Called.v1"):
    """The balance of a currency fell below what open positions and orders need; amounts in that currency."""

    kind: ClassVar[str] = "margin_called"
    priority = Priority.CRITICAL
    emitters = ("executor",)

    currency: Name
    balance: Decimal
    required: Decimal

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.currency}"


class LimitBreached(Event, frozen=True, kw_only=True, tag="Risk.Limit.Breached.v1"):
    """What happened, not an order, broke a limit of losses or margin; `state` is what the scope may do from now on.

    Emitted once, with the move of the kill switch that it demands. `code` is that of the limit, such as
    DAILY_LOSS_LIMIT.
    """

    kind: ClassVar[str] = "limit_breached"
    priority = Priority.CRITICAL
    emitters = ("executor",)

    scope: Scope
    code: Code
    state: TradingState
    detail: Text
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.scope}"


class TradingHalted(Event, frozen=True, kw_only=True, tag="Risk.Trading.Halted.v1"):
    """No order of the scope leaves any more, and what works is cancelled. Told beside `TradingStateChanged`."""

    kind: ClassVar[str] = "trading_halted"
    priority = Priority.CRITICAL
    emitters = ("executor",)

    scope: Scope
    by: Name
    reason: Text
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.scope}"


class TradingResumed(Event, frozen=True, kw_only=True, tag="Risk.Trading.Resumed.v1"):
    """A person has lifted what stopped the scope; a stricter scope around it still counts. Told as a halt is."""

    kind: ClassVar[str] = "trading_resumed"
    priority = Priority.CRITICAL
    emitters = ("executor",)

    scope: Scope
    by: Name
    reason: Text
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.scope}"


class AlertTriggered(Event, frozen=True, kw_only=True, tag="Risk.Alert.Triggered.v1"):
    """A limit is near, or a pattern looks wrong: nothing is stopped yet, but somebody should look."""

    kind: ClassVar[str] = "risk_alert"
    priority = Priority.HIGH
    emitters = ("workers",)

    scope: Scope
    code: Code
    severity: Severity
    detail: Text
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.risk.{self.scope}"


class ScoreUpdated(Event, frozen=True, kw_only=True, tag="Risk.Score.Updated.v1"):
    """How much of its risk a scope uses, as one figure for people; `parts` tells what it is made of."""

    kind: ClassVar[str] = "risk_score"
    priority = Priority.LOW
    emitters = ("workers",)

    scope: Scope
    score: Score
    previous_score: Score | None = None
    parts: Annotated[dict[Word, Score], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=dict)
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.risk.{self.scope}"


class ProfileModified(Event, frozen=True, kw_only=True, tag="Risk.Profile.Modified.v1"):
    """A scope has other limits from now on: `changed_limits` holds the new value of each, empty for one taken away."""

    kind: ClassVar[str] = "risk_profile"
    priority = Priority.HIGH

    scope: Scope
    by: Name
    changed_limits: Annotated[dict[Word, Name], msgspec.Meta(max_length=64)]
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.risk.{self.scope}"


class ControlAction(enum.StrEnum):
    """What an operator may ask of the executor."""

    HALT = "halt"
    REDUCE = "reduce"
    RESUME = "resume"
    CANCEL_ALL = "cancel_all"
    RELOAD = "reload"
    STATUS = "status"


class ControlRequested(
    Command, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Risk.Control.Requested.v1"
):
    """An operator's command. `by` is the person's name: only a named person may lift a halt; `scope` as above."""

    kind: ClassVar[str] = "control_request"
    emitters = ("executor",)
    answer = "control_answer"

    request_id: Id
    action: ControlAction
    scope: Name = "all"
    by: Name
    reason: Text = ""

    def topic(self) -> str:
        return f"{self.kind}.executor.{self.action}"


class ScopeState(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Where the kill switch of one scope stands, who moved it, why and when."""

    scope: Name
    state: TradingState
    by: Name
    reason: Text
    since_ns: int


class ControlAnswered(Reply, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="Risk.Control.Answered.v1"):
    """What came of a command, and how things stand after it. `reason` is an UPPER_CASE code where it was refused."""

    kind: ClassVar[str] = "control_answer"
    emitters = ("executor",)

    request_id: Id
    is_done: bool
    reason: Name | None = None
    detail: Text = ""
    scopes: list[ScopeState]
    circuit: CircuitState
    orders_working: Count
    orders_cancelling: Count = 0
    limits: dict[str, str] = msgspec.field(default_factory=dict)

    def topic(self) -> str:
        return f"{self.kind}.executor.all"
