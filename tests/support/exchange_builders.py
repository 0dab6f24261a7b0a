"""Builders for tests of the exchange: everything has a default, so that a test names only what matters to it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from common.events.base import DRAFT
from common.events.market import TICK_DTYPE, Tick, Ticks, Trade
from common.events.trading import OrderStatus
from common.events.venue import (
    AnswerOutcome,
    CancelAllOrders,
    CancelOrder,
    ExecutionReported,
    ExecutionType,
    OrderAnswered,
    QueryAccount,
    QueryOrder,
    ReplaceOrder,
    ResendExecutions,
    SubmitOrder,
)
from common.instruments import Instrument, InstrumentTable
from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.faults import FaultPlan
from exchange.simulated.venue import SimulatedVenue

NOW_NS = 1_700_000_000_000_000_000
EXCHANGE = "simulated"
SYMBOL = "BTC/USDT"
NEVER_NS = 1 << 62
_EXECUTION_AMOUNTS = (
    "quantity",
    "price",
    "fee",
    "filled_quantity",
    "leaves_quantity",
    "order_quantity",
    "limit_price",
)


def make_instrument(**changes: Any) -> Instrument:
    """Prices on 0.1, quantities on 0.01."""
    fields = {
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "raw_symbol": changes.get("symbol", SYMBOL).replace("/", ""),
        "tick_size": Decimal("0.1"),
        "lot_size": Decimal("0.01"),
    }
    return Instrument(**{**fields, **changes})


def make_venue(
    *instruments: Instrument, latency_us: int = 0, faults: FaultPlan | None = None, **config: Any
) -> SimulatedVenue:
    """A venue without latency; it trades BTC/USDT unless instruments are given."""
    return SimulatedVenue(
        SimulatedVenueConfig(order_entry_latency_us=latency_us, **config),
        InstrumentTable(instruments or [make_instrument()]),
        faults,
    )


def make_submit(client_order_id: str = "order-1", **changes: Any) -> SubmitOrder:
    """A limit order to buy 1 at 100, good till cancelled; amounts may be given as text."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "request_id": f"request-{client_order_id}",
        "client_order_id": client_order_id,
        "side": "buy",
        "order_type": "limit",
        "quantity": "1",
        "limit_price": None if changes.get("order_type") == "market" else "100",
        "time_in_force": "gtc",
        "expires_ns": NEVER_NS,
        **changes,
    }
    for name in ("quantity", "limit_price"):
        if isinstance(fields[name], str):
            fields[name] = Decimal(fields[name])
    return SubmitOrder(**{**DRAFT, **fields})


def submit(venue: SimulatedVenue, request: SubmitOrder, now_ns: int) -> OrderAnswered:
    """What the desk does with a new order, without a ledger."""
    answer = venue.decide(request, now_ns)
    venue.enter(request, answer, now_ns)
    return answer


def make_replace(client_order_id: str = "order-1", **changes: Any) -> ReplaceOrder:
    """Other terms for the order that `make_submit` makes: 2 at 100; amounts may be given as text."""
    fields = {
        **_request_fields("replace", client_order_id),
        "replace_id": "replace-1",
        "quantity": "2",
        "limit_price": "100",
        "expires_ns": NEVER_NS,
        **changes,
    }
    for name in ("quantity", "limit_price"):
        if isinstance(fields[name], str):
            fields[name] = Decimal(fields[name])
    return ReplaceOrder(**{**DRAFT, **fields})


def make_cancel_all(**changes: Any) -> CancelAllOrders:
    """A mass cancel of everything."""
    return CancelAllOrders(**{**DRAFT, "timestamp_ns": NOW_NS, "request_id": "cancel-all", **changes})


def make_query_account(**changes: Any) -> QueryAccount:
    """A question for the account."""
    return QueryAccount(**{**DRAFT, "timestamp_ns": NOW_NS, "request_id": "account-1", **changes})


def make_cancel(client_order_id: str = "order-1", **changes: Any) -> CancelOrder:
    """A cancel of the order that `make_submit` makes."""
    return CancelOrder(**{**DRAFT, **_request_fields("cancel", client_order_id), **changes})


def make_query(client_order_id: str = "order-1", **changes: Any) -> QueryOrder:
    """A question about the order that `make_submit` makes."""
    return QueryOrder(**{**DRAFT, **_request_fields("query", client_order_id), **changes})


def make_resend(from_number: int = 1, **changes: Any) -> ResendExecutions:
    """A question for executions."""
    fields = {"timestamp_ns": NOW_NS, "request_id": "resend-1", "from_number": from_number}
    return ResendExecutions(**{**DRAFT, **fields, **changes})


def make_tick(**changes: Any) -> Tick:
    """A market of 99 to 101 with 10 on either side."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "raw_symbol": "BTCUSDT",
        "local_timestamp_ns": NOW_NS,
        "bid": 99.0,
        "ask": 101.0,
        "bid_size": 10.0,
        "ask_size": 10.0,
    }
    return Tick(**DRAFT, **{**fields, **changes})


def make_ticks(ticks: Iterable[Tick]) -> Ticks:
    """The ticks as one batch."""
    records = np.array([_record(tick) for tick in ticks], dtype=TICK_DTYPE)
    return Ticks(
        **DRAFT,
        timestamp_ns=int(records["timestamp_ns"][-1]),
        exchange=EXCHANGE,
        symbol=SYMBOL,
        raw_symbol="BTCUSDT",
        count=len(records),
        data=records.tobytes(),
    )


def make_trade(**changes: Any) -> Trade:
    """A public trade of 10 at 99.9, by someone who sold into the bids."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "raw_symbol": "BTCUSDT",
        "local_timestamp_ns": NOW_NS,
        "price": 99.9,
        "quantity": 10.0,
        "aggressor_side": "sell",
    }
    return Trade(**DRAFT, **{**fields, **changes})


def make_answer(request: SubmitOrder, *, venue_order_id: str | None = "sim-1", **changes: Any) -> OrderAnswered:
    """The venue's first answer to an order: accepted."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": request.exchange,
        "symbol": request.symbol,
        "request_id": request.request_id,
        "client_order_id": request.client_order_id,
        "outcome": AnswerOutcome.ACCEPTED,
        "status": OrderStatus.ACCEPTED,
        "venue_order_id": venue_order_id,
        "filled_quantity": Decimal(0),
    }
    return OrderAnswered(**DRAFT, **{**fields, **changes})


def make_execution(execution_number: int = 1, **changes: Any) -> ExecutionReported:
    """A fill of 0.4 of an order over 1, so that 0.6 are left; amounts may be given as text."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "execution_number": execution_number,
        "execution_type": ExecutionType.TRADE,
        "client_order_id": "order-1",
        "venue_order_id": "sim-1",
        "side": "buy",
        "quantity": "0.4",
        "price": "100",
        "fee": "0.02",
        "liquidity": "taker",
        "filled_quantity": "0.4",
        "leaves_quantity": "0.6",
        **changes,
    }
    for name in _EXECUTION_AMOUNTS:
        if isinstance(fields.get(name), str):
            fields[name] = Decimal(fields[name])
    return ExecutionReported(**DRAFT, **fields)


def _request_fields(what: str, client_order_id: str) -> dict[str, Any]:
    return {
        "timestamp_ns": NOW_NS,
        "exchange": EXCHANGE,
        "symbol": SYMBOL,
        "request_id": f"{what}-{client_order_id}",
        "client_order_id": client_order_id,
    }


def _record(tick: Tick) -> tuple[float, ...]:
    amounts = (tick.bid, tick.ask, tick.bid_size, tick.ask_size, tick.last, tick.volume)
    return (
        tick.timestamp_ns,
        tick.local_timestamp_ns,
        tick.exchange_timestamp_ns or 0,
        *(np.nan if amount is None else amount for amount in amounts),
    )
