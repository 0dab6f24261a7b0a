"""Builders for tests of the executor, and a harness in which its stories can be told in a few lines."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import FatalError
from common.events.base import DRAFT, Message
from common.events.trading import (
    AmendRequested,
    CancelRequested,
    OrderStatus,
    Signal,
    SignalAcknowledged,
    StateRequested,
)
from common.events.venue import (
    AccountReported,
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    ExecutionType,
    OrderAnswered,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    ResendExecutions,
    SubmitOrder,
    VenueOrder,
    VenuePosition,
)
from common.ids import make_client_order_id
from common.instruments import Instrument, InstrumentTable, Listed
from executor.archive import find_instruction_history, find_order_history
from executor.book import Book
from executor.config import ExecutorConfig
from executor.core import Executor
from executor.entries import Entry, ExecutionTaken, OrderIntended, SignalDenied
from executor.orders import Order
from executor.positions import Position
from executor.requests import Request
from executor.risk import Reference
from executor.snapshot import Snapshot

NOW_NS = 1_700_000_000_000_000_000
EXCHANGE = "simulated"
SYMBOL = "BTC/USDT"
STRATEGY = "momentum"

_AMOUNTS = (
    "quantity",
    "order_quantity",
    "limit_price",
    "price",
    "fee",
    "filled_quantity",
    "leaves_quantity",
    "bid",
    "ask",
    "last",
)
_MessageT = TypeVar("_MessageT", bound=Message)
_EntryT = TypeVar("_EntryT", bound=Entry)


def make_instrument(**changes: Any) -> Instrument:
    """Prices on 0.1, quantities on 0.01 up to 100, notional from 10 to 20,000."""
    fields: dict[str, Any] = {
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "raw_symbol": "BTCUSDT",
        "tick_size": Decimal("0.1"),
        "lot_size": Decimal("0.01"),
        "max_quantity": Decimal(100),
        "min_notional": Decimal(10),
        "max_notional": Decimal(20_000),
    }
    return Instrument(**{**fields, **changes})


def make_signal(signal_id: str = "s-1", **changes: Any) -> Signal:
    """A wish to buy 1 at 100, good till cancelled, that expires after 5 s; amounts may be given as text."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "signal_id": signal_id,
        "strategy": STRATEGY,
        "action": "buy",
        "order_type": "limit",
        "quantity": "1",
        "limit_price": None if changes.get("order_type") == "market" else "100",
        "time_in_force": "gtc",
        "expires_ns": NOW_NS + 5 * NS_PER_S,
        **changes,
    }
    return Signal(**{**DRAFT, **_with_decimals(fields)})


def make_order(signal_id: str = "s-1", *, signal: dict[str, Any] | None = None, **changes: Any) -> Order:
    """The order of `make_signal`, just intended; `signal` changes the signal, the rest the order."""
    wish = make_signal(signal_id, **(signal or {}))
    return Order(**{"client_order_id": make_client_order_id(signal_id), "signal": wish, **_with_decimals(changes)})


def make_cancel_request(signal_id: str = "s-1", **changes: Any) -> CancelRequested:
    """The strategy of `make_signal` wants its order cancelled."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "signal_id": signal_id,
        "strategy": STRATEGY,
    }
    return CancelRequested(**DRAFT, **{**fields, **changes})


def make_amend_request(request_id: str = "a-1", signal_id: str = "s-1", **changes: Any) -> AmendRequested:
    """The strategy of `make_signal` wants a quantity of 2 at 101; amounts may be given as text."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "request_id": request_id,
        "signal_id": signal_id,
        "strategy": STRATEGY,
        "quantity": "2",
        "limit_price": "101",
        "expires_ns": NOW_NS + 5 * NS_PER_S,
        **changes,
    }
    return AmendRequested(**{**DRAFT, **_with_decimals(fields)})


def make_state_request(
    strategy: str = STRATEGY, request_id: str = "state-1", last_id: str | None = None
) -> StateRequested:
    """A strategy asks where it stands."""
    return StateRequested(**DRAFT, timestamp_ns=NOW_NS, strategy=strategy, request_id=request_id, last_id=last_id)


def make_answer(
    request: SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder,
    outcome: AnswerOutcome = AnswerOutcome.ACCEPTED,
    status: OrderStatus | None = OrderStatus.ACCEPTED,
    **changes: Any,
) -> OrderAnswered:
    """What the exchange says to a request: that the order works."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": request.exchange,
        "symbol": request.symbol,
        "request_id": request.request_id,
        "client_order_id": request.client_order_id,
        "outcome": outcome,
        "status": status,
        **changes,
    }
    return OrderAnswered(**DRAFT, **_with_decimals(fields))


def make_report(execution_number: int = 1, signal_id: str = "s-1", **changes: Any) -> ExecutionReported:
    """A trade of 0.4 at 100 with a fee of 0.02, for the order of a signal; amounts may be given as text."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "execution_number": execution_number,
        "execution_type": ExecutionType.TRADE,
        "client_order_id": make_client_order_id(signal_id),
        "venue_order_id": f"venue-{signal_id}",
        "side": "buy",
        "quantity": "0.4",
        "price": "100",
        "fee": "0.02",
        "liquidity": "taker",
        "filled_quantity": "0.4",
        "leaves_quantity": "0.6",
        **changes,
    }
    return ExecutionReported(**DRAFT, **_with_decimals(fields))


def make_ending(execution_number: int = 1, signal_id: str = "s-1", **changes: Any) -> ExecutionReported:
    """The report that the rest of an order was cancelled, or what `execution_type` says."""
    without_trade = {"quantity": "0", "price": None, "fee": None, "liquidity": None, "leaves_quantity": "0"}
    fields = {"execution_type": ExecutionType.CANCELLED, "filled_quantity": "0", **without_trade, **changes}
    return make_report(execution_number, signal_id, **fields)


def make_resent(request: ResendExecutions, *reports: ExecutionReported, last_number: int) -> ExecutionsResent:
    """One page of executions."""
    return ExecutionsResent(
        **DRAFT,
        timestamp_ns=NOW_NS,
        request_id=request.request_id,
        last_number=last_number,
        executions=list(reports),
    )


def make_account(request: QueryAccount, book: Book, **changes: Any) -> AccountReported:
    """An account that agrees with a book in every point."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "request_id": request.request_id,
        "last_number": book.last_execution_number,
        "order_count": book.orders_intended,
        "open_orders": [
            _venue_order(number, order)
            for number, order in enumerate(book.working_orders(), start=1)
            if not order.is_unanswered
        ],
        "positions": [
            VenuePosition(exchange=exchange, symbol=symbol, quantity=quantity)
            for (exchange, symbol), quantity in book.net_quantities().items()
        ],
        "cash": book.cash(),
    }
    return AccountReported(**DRAFT, **{**fields, **changes})


def _venue_order(number: int, order: Order) -> VenueOrder:
    return make_venue_order(
        order.client_order_id,
        arrival_number=number,
        exchange=order.signal.exchange,
        symbol=order.signal.symbol,
        side=order.signal.action,
        quantity=order.quantity,
        limit_price=order.limit_price,
        filled_quantity=order.filled_quantity,
    )


def make_venue_order(client_order_id: str, **changes: Any) -> VenueOrder:
    """An order to buy 1 at 100 that works at the exchange."""
    fields: dict[str, Any] = {
        "arrival_number": 1,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "client_order_id": client_order_id,
        "venue_order_id": "venue-1",
        "side": "buy",
        "order_type": "limit",
        "quantity": "1",
        "limit_price": "100",
        "time_in_force": "gtc",
        "filled_quantity": "0",
        "status": OrderStatus.ACCEPTED,
        "accepted_ns": NOW_NS,
        **changes,
    }
    return VenueOrder(**_with_decimals(fields))


def make_reference(**changes: Any) -> Reference:
    """A market of 99.9 to 100.1 that traded at 100, now."""
    fields = {"bid": "99.9", "ask": "100.1", "last": "100", "timestamp_ns": NOW_NS, **changes}
    return Reference(**_with_decimals(fields))


def make_denial(signal_id: str = "s-1", **changes: Any) -> SignalDenied:
    """The entry of a refusal."""
    fields = {
        "timestamp_ns": NOW_NS,
        "signal_id": signal_id,
        "strategy": STRATEGY,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "digest": "0" * 32,
        "reason": "OFF_LOT",
        "detail": "quantity: expected a multiple of 0.01, was 0.005",
    }
    return SignalDenied(**{**fields, **changes})


def make_intent(signal_id: str = "s-1", **changes: Any) -> OrderIntended:
    """The entry of an intent; `changes` are those of its signal."""
    return OrderIntended(NOW_NS, make_signal(signal_id, **changes), make_client_order_id(signal_id))


class MemoryJournal:
    """A journal that lives as long as the test holds it. It follows the contract of the real one."""

    def __init__(self, entries: list[Entry] | None = None, kept: list[Snapshot] | None = None) -> None:
        """Open a journal: empty, or on the entries and snapshots of another one, which it shares."""
        self.kept: list[Snapshot] = [] if kept is None else kept
        self.entries: list[Entry] = [] if entries is None else entries
        self.is_broken = False
        self._unique = {_unique_key(entry) for entry in self.entries}

    def append(self, entries: Sequence[Entry]) -> None:
        """Keep entries: all or none."""
        keys = [key for key in map(_unique_key, entries) if key is not None]
        if self.is_broken or len(set(keys)) < len(keys) or not self._unique.isdisjoint(keys):
            raise FatalError(f"journal: {len(entries)} entries could not be written")
        self.entries += entries
        self._unique.update(keys)

    def replay(self, after_seq: int = 0) -> Iterator[Entry]:
        """Every entry behind that number, in order."""
        return iter(self.entries[after_seq:])

    def last_seq(self) -> int:
        """The number of the newest entry."""
        return len(self.entries)

    def history_of_order(self, client_order_id: str, last_seq: int) -> list[Entry]:
        """Every entry about an order."""
        return find_order_history(self.entries[:last_seq], client_order_id)

    def history_of_instruction(self, instruction_id: str, last_seq: int) -> list[Entry]:
        """The denial of an instruction, or every entry about its order."""
        return find_instruction_history(self.entries[:last_seq], instruction_id)

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        """Keep it, and the two before it."""
        self.kept[:] = [*(each for each in self.kept if each.seq != snapshot.seq), snapshot][-3:]

    def snapshots(self) -> Iterator[Snapshot]:
        """What was kept, newest first."""
        return iter(self.kept[::-1])

    def close(self) -> None:
        """Nothing to close."""


def _unique_key(entry: Entry) -> tuple[str, str] | None:
    """What only one entry may have: the verdict on a signal, the booking of an execution."""
    if isinstance(entry, OrderIntended | SignalDenied):
        return "verdict", entry.subject
    return ("execution", entry.subject) if isinstance(entry, ExecutionTaken) else None


class Killed(Exception):  # noqa: N818  # no error: it is what happens to the process
    """The process was killed at this point."""


class _TracedJournal(MemoryJournal):
    """Notes in a common trace when entries become durable."""

    def __init__(self, take_step: Callable[[object], None], entries: list[Entry], kept: list[Snapshot]) -> None:
        super().__init__(entries, kept)
        self._take_step = take_step

    def append(self, entries: Sequence[Entry]) -> None:
        """Note and keep, unless that is where the process is killed."""
        if not self.is_broken:
            for entry in entries:
                self._take_step(entry)
        super().append(entries)


class ExecutorHarness:
    """An executor whose journal, exchange, market and time the test holds.

    `trace` has everything that it did, in order: the entries that became durable, the requests that it sent, the
    events that it published. The views `sent`, `events` and `entries` are parts of it.
    """

    def __init__(
        self,
        *instruments: Instrument,
        entries: Sequence[Entry] = (),
        snapshots: Sequence[Snapshot] = (),
        epoch: int = 1,
        now_ns: int = NOW_NS,
        **config: Any,
    ) -> None:
        """Start an executor on the entries of an earlier life; it is not recovered yet."""
        self.trace: list[Any] = []
        self.now_ns = now_ns
        self.in_flight: Request | None = None  # the newest request, answered or not
        self.reference: Reference | None = make_reference()
        self.steps_left: int | None = None  # until the process is killed; None for a long life
        self.journal = _TracedJournal(self._take_step, list(entries), list(snapshots))
        self.executor = Executor(
            epoch=epoch,
            # Stories are told without the regular look at the account, unless they are about it.
            config=ExecutorConfig(**{"reconcile_interval_ms": 3_600_000, **config}),
            instruments=InstrumentTable(instruments or [make_instrument()]),
            journal=self.journal,
            find_reference=self._find_reference,
            send=self._send,
            publish=self._take_step,
        )
        self._epoch = epoch
        self._instruments = instruments
        self._config = config

    def restarted(self) -> "ExecutorHarness":
        """The next life: nothing but the journal is left. It is not recovered yet."""
        return ExecutorHarness(
            *self._instruments,
            entries=self.journal.entries,
            snapshots=self.journal.kept,
            epoch=self._epoch + 1,
            now_ns=self.now_ns,
            **self._config,
        )

    # What the test looks at

    @property
    def book(self) -> Book:
        """What the executor knows."""
        return self.executor.book

    @property
    def sent(self) -> list[Request]:
        """Requests to the exchange."""
        return [step for step in self.trace if isinstance(step, Request)]

    @property
    def entries(self) -> list[Entry]:
        """What became durable in this life."""
        return [step for step in self.trace if isinstance(step, Entry)]

    @property
    def events(self) -> list[Message]:
        """What was published."""
        return [step for step in self.trace if isinstance(step, Message) and not isinstance(step, Request)]

    @property
    def story(self) -> list[str]:
        """The trace as names of types."""
        return [type(step).__name__ for step in self.trace]

    def events_of(self, event_type: type[_MessageT]) -> list[_MessageT]:
        """The events of one type."""
        return [event for event in self.events if isinstance(event, event_type)]

    def entries_of(self, entry_type: type[_EntryT]) -> list[_EntryT]:
        """The entries of one type, of this life."""
        return [entry for entry in self.entries if isinstance(entry, entry_type)]

    @property
    def acknowledgements(self) -> list[tuple[str, str, str | None]]:
        """Signal, outcome and reason of each answer to a strategy."""
        return [
            (answer.signal_id, answer.outcome.value, answer.reason) for answer in self.events_of(SignalAcknowledged)
        ]

    def count(self, name: str) -> int:
        """A counter; 0 if it never counted."""
        return self.executor.counters().get(name, 0)

    def order(self, signal_id: str = "s-1") -> Order:
        """The order of a signal."""
        return self.book.order(make_client_order_id(signal_id))

    def position(self, strategy: str = STRATEGY) -> Position:
        """The position of a strategy."""
        return self.book.positions[strategy, EXCHANGE, SYMBOL]

    # What the world does

    def recover(self) -> None:
        """Start up against an exchange that has nothing new to tell."""
        self.executor.recover(self.now_ns)
        if isinstance(self.in_flight, ResendExecutions):
            self.resend()
        self.report_account()

    def report_account(self, **changes: Any) -> None:
        """The exchange tells of an account that agrees with ours, but for the changes; if that is what was asked."""
        request = self.in_flight
        if isinstance(request, QueryAccount):
            self.in_flight = None
            self.executor.on_answer(make_account(request, self.book, **changes), self.now_ns)

    def signal(self, signal_id: str = "s-1", **changes: Any) -> None:
        """A strategy pushes a signal."""
        self.executor.on_signal(make_signal(signal_id, **changes), self.now_ns)

    def cancel(self, signal_id: str = "s-1", **changes: Any) -> None:
        """A strategy wants an order cancelled."""
        self.executor.on_cancel(make_cancel_request(signal_id, **changes), self.now_ns)

    def amend(self, request_id: str = "a-1", signal_id: str = "s-1", **changes: Any) -> None:
        """A strategy wants other terms for its order."""
        self.executor.on_amend(make_amend_request(request_id, signal_id, **changes), self.now_ns)

    def answer(
        self,
        outcome: AnswerOutcome = AnswerOutcome.ACCEPTED,
        status: OrderStatus | None = OrderStatus.ACCEPTED,
        *,
        to: Request | None = None,
        **changes: Any,
    ) -> None:
        """The exchange answers a request about an order: the newest unless told."""
        request = to or self.in_flight
        assert request is not None, "nothing was asked"
        assert not isinstance(request, ResendExecutions), "answer a resend with `resend`"
        self.executor.on_answer(make_answer(request, outcome, status, **changes), self.now_ns)

    def reject(self, reason: str, status: OrderStatus | None = OrderStatus.REJECTED) -> None:
        """The exchange refuses the newest request."""
        self.answer(AnswerOutcome.REJECTED, status, reason=reason)

    def find_nothing(self) -> None:
        """The exchange does not know the order of the newest request."""
        self.answer(AnswerOutcome.NOT_FOUND, None)

    def resend(self, *reports: ExecutionReported, last_number: int | None = None) -> None:
        """The exchange answers the newest request with a page of executions: all there are unless told."""
        request = self.in_flight
        assert isinstance(request, ResendExecutions), "nobody asked for executions"
        if last_number is None:
            last_number = reports[-1].execution_number if reports else self.book.last_execution_number
        self.executor.on_answer(make_resent(request, *reports, last_number=last_number), self.now_ns)

    def execute(self, report: ExecutionReported) -> None:
        """An execution report arrives."""
        self.executor.on_execution(report, self.now_ns)

    def fill(self, signal_id: str = "s-1", **changes: Any) -> None:
        """The next execution: a trade of 0.4 at 100."""
        self.execute(make_report(self.book.last_execution_number + 1, signal_id, **changes))

    def replaced(self, signal_id: str = "s-1", **changes: Any) -> None:
        """The next execution: the exchange has changed the order."""
        self.end(signal_id, execution_type=ExecutionType.REPLACED, **changes)

    def end(self, signal_id: str = "s-1", **changes: Any) -> None:
        """The next execution: the rest of the order is cancelled."""
        self.execute(make_ending(self.book.last_execution_number + 1, signal_id, **changes))

    def advance(self, *, ms: int) -> None:
        """Let time pass; the market stays fresh."""
        self.now_ns += ms * NS_PER_MS
        if self.reference is not None:
            self.reference = make_reference(timestamp_ns=self.now_ns)
        self.executor.on_time(self.now_ns)

    def have_working(self, signal_id: str = "s-1", **changes: Any) -> None:
        """Have an order that the exchange accepted, and forget how it came about."""
        self.signal(signal_id, **changes)
        self.answer()
        self.trace.clear()

    def _find_reference(self, listed: Listed) -> Reference | None:
        return self.reference if (listed.exchange, listed.symbol) == (EXCHANGE, SYMBOL) else None

    def _send(self, request: Request) -> None:
        # The write-ahead promise, checked in every test: no order leaves whose intent a restart would not know.
        if isinstance(request, SubmitOrder):
            assert any(
                isinstance(entry, OrderIntended) and entry.client_order_id == request.client_order_id
                for entry in self.journal.entries
            ), f"{request.client_order_id} was sent without a durable intent"
        self._take_step(request)
        self.in_flight = request

    def _take_step(self, step: object) -> None:
        if self.steps_left is not None:
            if not self.steps_left:
                raise Killed
            self.steps_left -= 1
        self.trace.append(step)


def contents(book: Book) -> tuple[object, ...]:
    """Everything that a book knows, for comparison."""
    return (
        book.signals,
        book.orders,
        book.positions,
        [order.client_order_id for order in book.working_orders()],
        book.last_execution_number,
        book.requests,
        book.memory.fills,
        book.last_ids,
        book.orders_intended,
        book.orders_adopted,
    )


def recall_all(book: Book, entries: Sequence[Entry]) -> Book:
    """A book that holds again whatever it has forgotten."""
    for entry in entries:
        if entry.order_id is not None:
            book.find_order(entry.order_id)
        if entry.instruction_id is not None:
            book.record_of(entry.instruction_id)
    return book


def refold(entries: Sequence[Entry]) -> Book:
    """The book that a new life would make of these entries."""
    book = Book()
    for entry in entries:
        book.apply(entry)
    return book


def _with_decimals(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: Decimal(value) if name in _AMOUNTS and isinstance(value, str) else value for name, value in fields.items()
    }
