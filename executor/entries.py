"""What the journal holds: every fact that changed what the executor knows, in the order in which it learned it.

State is a fold over these entries (`book.Book.apply`), so the journal alone rebuilds it.
"""

from decimal import Decimal

import msgspec

from common.events.risk import TradingState
from common.events.trading import Acknowledgement, AmendRequested, CancelRequested, OrderStatus, Signal
from common.events.venue import AnswerOutcome, ExecutionReported


class Entry(msgspec.Struct, frozen=True, tag_field="kind", omit_defaults=True):
    """One fact. `timestamp_ns` is when the executor learned it."""

    timestamp_ns: int

    @property
    def subject(self) -> str:
        """What the fact is about; for some kinds the journal admits a subject once only."""
        raise NotImplementedError

    @property
    def order_id(self) -> str | None:
        """The order that the fact is about, if it is about one: all of these together give the order again."""
        return getattr(self, "client_order_id", None)

    @property
    def instruction_id(self) -> str | None:
        """The instruction whose verdict this is, if it is one."""
        return None


class OrderIntended(Entry, frozen=True, tag="intent", omit_defaults=True):
    """A signal passed every check: its order may be sent from now on, under this id and no other."""

    signal: Signal
    client_order_id: str

    @property
    def subject(self) -> str:
        return self.signal.signal_id

    @property
    def instruction_id(self) -> str | None:
        return self.signal.signal_id


class SignalDenied(Entry, frozen=True, tag="denied", omit_defaults=True, kw_only=True):
    """An instruction was refused; nothing was and nothing will be sent for it.

    `signal` is absent if it could not be read, or where it was the request of a cancel or an amendment.
    """

    signal_id: str
    strategy: str
    exchange: str
    symbol: str
    digest: str
    reason: str
    detail: str
    signal: Signal | None = None
    is_request: bool = False

    @property
    def subject(self) -> str:
        return self.signal_id

    @property
    def instruction_id(self) -> str | None:
        return self.signal_id


class SignalConflicted(Entry, frozen=True, tag="conflict", omit_defaults=True, kw_only=True):
    """A signal came under an id that another body has."""

    signal_id: str
    digest: str

    @property
    def subject(self) -> str:
        return self.signal_id


class OrderAnswerTaken(Entry, frozen=True, tag="answer", omit_defaults=True, kw_only=True):
    """The exchange told what it did with an order, or where it stands."""

    client_order_id: str
    outcome: AnswerOutcome
    status: OrderStatus | None = None
    venue_order_id: str | None = None
    reason: str | None = None

    @property
    def subject(self) -> str:
        return self.client_order_id


class OrderUnanswered(Entry, frozen=True, tag="unanswered", omit_defaults=True):
    """The exchange did not answer in time: it may or may not have the order."""

    client_order_id: str

    @property
    def subject(self) -> str:
        return self.client_order_id


class OrderAbandoned(Entry, frozen=True, tag="abandoned", omit_defaults=True):
    """The signal expired before the exchange had the order; it will not be sent."""

    client_order_id: str
    reason: str

    @property
    def subject(self) -> str:
        return self.client_order_id


class CancelIntended(Entry, frozen=True, tag="cancel", omit_defaults=True):
    """The rest of an order is to be cancelled; `request` is the strategy's, where it was one that asked."""

    client_order_id: str
    request: CancelRequested | None = None

    @property
    def subject(self) -> str:
        return self.client_order_id

    @property
    def instruction_id(self) -> str | None:
        return None if self.request is None else self.request.request_id


class CancelRefused(Entry, frozen=True, tag="cancel_refused", omit_defaults=True):
    """The exchange could not cancel; executions tell why."""

    client_order_id: str
    reason: str

    @property
    def subject(self) -> str:
        return self.client_order_id


class AmendIntended(Entry, frozen=True, tag="amend", omit_defaults=True):
    """New terms of a working order passed every check: the exchange may be asked for them from now on."""

    client_order_id: str
    request: AmendRequested
    quantity: Decimal
    limit_price: Decimal

    @property
    def subject(self) -> str:
        return self.client_order_id

    @property
    def instruction_id(self) -> str | None:
        return self.request.request_id


class AmendRefused(Entry, frozen=True, tag="amend_refused", omit_defaults=True):
    """The exchange did not change the order; the old terms hold."""

    client_order_id: str
    reason: str

    @property
    def subject(self) -> str:
        return self.client_order_id


class OrderAdopted(Entry, frozen=True, tag="adopted", omit_defaults=True):
    """The exchange has an order that we never sent, or that a lost journal held: it is ours from now on.

    Its signal is made up from what the exchange tells, the same whenever it is made.
    """

    client_order_id: str
    signal: Signal
    filled_quantity: Decimal
    venue_order_id: str

    @property
    def subject(self) -> str:
        return self.client_order_id

    @property
    def instruction_id(self) -> str | None:
        return self.signal.signal_id


class OrderVanished(Entry, frozen=True, tag="vanished", omit_defaults=True):
    """The exchange had an order and does not know it any more: it is at its end, and nobody can say why."""

    client_order_id: str
    reason: str

    @property
    def subject(self) -> str:
        return self.client_order_id


class OrderReopened(Entry, frozen=True, tag="reopened", omit_defaults=True):
    """The exchange lists an order as working that was at its end here."""

    client_order_id: str

    @property
    def subject(self) -> str:
        return self.client_order_id


class ExecutionTaken(Entry, frozen=True, tag="execution", omit_defaults=True):
    """An execution report of the exchange, and the price that the position was marked at when it came.

    One with a `defect` could not be booked, for the reason that it tells: only its number is used up.
    """

    report: ExecutionReported
    mark_price: Decimal | None = None
    defect: str | None = None

    @property
    def subject(self) -> str:
        return str(self.report.execution_number)

    @property
    def order_id(self) -> str | None:
        return self.report.client_order_id


class TradingStateMoved(Entry, frozen=True, tag="trading_state", omit_defaults=True, kw_only=True):
    """The kill switch of one scope was moved, by a person or by what went wrong."""

    scope: str
    state: TradingState
    by: str
    reason: str

    @property
    def subject(self) -> str:
        return self.scope


AnyEntry = (
    OrderIntended
    | SignalDenied
    | SignalConflicted
    | OrderAnswerTaken
    | OrderUnanswered
    | OrderAbandoned
    | CancelIntended
    | CancelRefused
    | AmendIntended
    | AmendRefused
    | OrderAdopted
    | OrderVanished
    | OrderReopened
    | ExecutionTaken
    | TradingStateMoved
)


class Outcome(msgspec.Struct, frozen=True):
    """The recorded end of a signal."""

    outcome: Acknowledgement
    reason: str | None = None
    detail: str | None = None
