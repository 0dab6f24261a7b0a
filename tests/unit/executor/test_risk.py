"""What a signal must pass: each check at its boundary, and the order of the checks."""

import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.executor_builders import (
    EXCHANGE,
    NOW_NS,
    STRATEGY,
    SYMBOL,
    make_instrument,
    make_reference,
    make_signal,
)

from common.clock import NS_PER_MS
from common.errors import InvalidValueError
from common.events.risk import TradingState
from executor.exposure import Exposure, InstrumentKey
from executor.positions import Position
from executor.risk import CHECKS, Case, Reason, Reference, find_refusal

REFERENCE_AGE_NS_MAX = 5_000 * NS_PER_MS
MARKET = {"order_type": "market", "time_in_force": "ioc"}
WIDE = {"max_quantity": Decimal("1e15"), "min_notional": Decimal(0), "max_notional": Decimal("1e15")}


def make_exposure(held_quantity: str) -> Exposure:
    """The strategy of `make_signal` holds this much."""
    exposure = Exposure()
    key = (STRATEGY, EXCHANGE, SYMBOL)
    exposure.on_position(key, Position(), Position(quantity=Decimal(held_quantity)), Decimal(100), NOW_NS)
    return exposure


def reason_of(case: Case) -> Reason | None:
    """Why a case is refused."""
    refusal = find_refusal(case, CHECKS)
    return None if refusal is None else refusal.reason


def make_case(
    *,
    instrument: dict[str, Any] | None = None,
    reference: Reference | dict[str, Any] | None = None,
    held_quantity: str = "0",
    waiting_count: int = 0,
    trading_state: TradingState = TradingState.ACTIVE,
    **signal: Any,
) -> Case:
    """A signal that passes, with a fresh market; what is given changes the signal unless it has its own name."""
    return Case(
        signal=make_signal(**signal),
        key=InstrumentKey(EXCHANGE, SYMBOL),
        instrument=make_instrument(**(instrument or {})),
        reference=make_reference(**(reference or {})) if isinstance(reference, dict | None) else reference,
        exposure=make_exposure(held_quantity),
        waiting_count=waiting_count,
        waiting_count_max=10,
        reference_age_ns_max=REFERENCE_AGE_NS_MAX,
        now_ns=NOW_NS,
        trading_state=trading_state,
    )


# Reason, just inside, just outside. The instrument: ticks of 0.1, lots of 0.01 up to 100, notional 10 to 20,000.
BOUNDARIES: list[tuple[Reason, dict[str, Any], dict[str, Any]]] = [
    (Reason.OFF_LOT, {"quantity": "1.01"}, {"quantity": "1.011"}),
    (Reason.OFF_LOT, {"quantity": "1.010000"}, {"quantity": "1.010001"}),
    (
        Reason.BELOW_MIN_QUANTITY,
        {"quantity": "0.50", "instrument": {"min_quantity": Decimal("0.5")}},
        {"quantity": "0.49", "instrument": {"min_quantity": Decimal("0.5")}},
    ),
    (Reason.ABOVE_MAX_QUANTITY, {"quantity": "100"}, {"quantity": "100.01"}),
    (Reason.UNEXPECTED_LIMIT_PRICE, MARKET, {**MARKET, "limit_price": "100"}),
    (Reason.MISSING_LIMIT_PRICE, {"limit_price": "100"}, {"limit_price": None}),
    (Reason.OFF_TICK, {"limit_price": "100.1"}, {"limit_price": "100.15"}),
    (Reason.EXPIRED, {"expires_ns": NOW_NS + 1}, {"expires_ns": NOW_NS}),
    (
        Reason.STALE_REFERENCE,
        {"reference": {"timestamp_ns": NOW_NS - REFERENCE_AGE_NS_MAX}},
        {"reference": {"timestamp_ns": NOW_NS - REFERENCE_AGE_NS_MAX - 1}},
    ),
    (
        Reason.STALE_REFERENCE,
        {"reference": {"timestamp_ns": NOW_NS + REFERENCE_AGE_NS_MAX}},
        {"reference": {"timestamp_ns": NOW_NS + REFERENCE_AGE_NS_MAX + 1}},
    ),
    (
        Reason.NO_REFERENCE,
        {"reference": {"ask": "100.1", "bid": None, "last": None}},
        {"reference": {"ask": None, "bid": "99.9", "last": None}},
    ),
    (
        Reason.NO_REFERENCE,
        {"reference": {"ask": None, "bid": None, "last": "100"}},
        {"reference": {"ask": None, "bid": None, "last": None}},
    ),
    (Reason.BELOW_MIN_NOTIONAL, {"quantity": "0.1"}, {"quantity": "0.1", "limit_price": "99.9"}),
    (
        Reason.ABOVE_MAX_NOTIONAL,
        {"quantity": "100", "limit_price": "200"},
        {"quantity": "100", "limit_price": "200.1"},
    ),
    # A market order is valued at what it would meet: a buyer pays the ask, a seller gets the bid.
    (
        Reason.ABOVE_MAX_NOTIONAL,
        {**MARKET, "quantity": "100", "reference": {"ask": "200", "bid": "300"}},
        {**MARKET, "quantity": "100", "reference": {"ask": "200.01", "bid": "100"}},
    ),
    (
        Reason.BELOW_MIN_NOTIONAL,
        {**MARKET, "action": "sell", "quantity": "0.1", "reference": {"bid": "100", "ask": "1"}},
        {**MARKET, "action": "sell", "quantity": "0.1", "reference": {"bid": "99.99", "ask": "200"}},
    ),
    (
        Reason.REDUCE_ONLY,
        {"reduce_only": True, "action": "sell", "held_quantity": "1"},
        {"reduce_only": True, "action": "sell", "held_quantity": "0.99"},
    ),
    (
        Reason.REDUCE_ONLY,
        {"reduce_only": True, "action": "buy", "held_quantity": "-1"},
        {"reduce_only": True, "action": "buy", "held_quantity": "1"},
    ),
    (Reason.TRADING_HALTED, {}, {"trading_state": TradingState.HALTED}),
    (
        Reason.TRADING_REDUCING,
        {"trading_state": TradingState.REDUCING, "action": "sell", "held_quantity": "1"},
        {"trading_state": TradingState.REDUCING, "action": "sell", "held_quantity": "0.99"},
    ),
    (Reason.QUEUE_FULL, {"waiting_count": 9}, {"waiting_count": 10}),
]


@pytest.mark.parametrize(("reason", "inside", "outside"), BOUNDARIES)
def test_check_passes_at_its_boundary_and_refuses_beyond_it(
    reason: Reason, inside: dict[str, Any], outside: dict[str, Any]
) -> None:
    """The last value that is allowed is allowed, the next one is refused for this reason and no other."""
    assert reason_of(make_case(**inside)) is None
    assert reason_of(make_case(**outside)) is reason


@pytest.mark.parametrize(
    "amount", ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "0", "-0", "-1", "1.0000000000000000", "1E+16", "1E+999"]
)
@pytest.mark.parametrize(
    ("name", "reason"), [("quantity", Reason.INVALID_QUANTITY), ("limit_price", Reason.INVALID_LIMIT_PRICE)]
)
def test_amount_that_is_none_is_refused(name: str, reason: Reason, amount: str) -> None:
    """Not finite, not above zero, too large or with more than 15 decimals: named, never compared or rounded."""
    assert reason_of(make_case(**{name: amount})) is reason


def test_reducing_order_without_a_position_is_refused() -> None:
    """There is nothing to reduce."""
    for action in ("buy", "sell"):
        assert reason_of(make_case(reduce_only=True, action=action)) is Reason.REDUCE_ONLY


def test_order_that_need_not_reduce_may_grow_a_position() -> None:
    """Only who asks for the check is bound by it."""
    assert reason_of(make_case(held_quantity="50")) is None


def test_reference_is_needed_for_a_limit_order_too() -> None:
    """A price alone does not say that the market is alive: no market, no order."""
    case = make_case(reference=Reference(bid=None, ask=None, last=None, timestamp_ns=NOW_NS))

    assert reason_of(case) is Reason.NO_REFERENCE


def test_refusal_says_what_was_expected_and_what_was_there() -> None:
    """A person reads it."""
    refusal = find_refusal(make_case(quantity="1.011"), CHECKS)

    assert refusal is not None
    assert refusal.detail == "quantity: expected a multiple of 0.01, was 1.011"


# One fault for each check, in the order in which the checks are made.
FAULTS: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.OFF_LOT, {"quantity": "1.011"}),
    (Reason.MISSING_LIMIT_PRICE, {"limit_price": None}),
    (Reason.EXPIRED, {"expires_ns": NOW_NS}),
    (Reason.TRADING_HALTED, {"trading_state": TradingState.HALTED}),
    (Reason.STALE_REFERENCE, {"reference": {"timestamp_ns": 0}}),
    (Reason.ABOVE_MAX_NOTIONAL, {"instrument": {"max_notional": Decimal("0.01")}}),
    (Reason.REDUCE_ONLY, {"reduce_only": True}),
    (Reason.QUEUE_FULL, {"waiting_count": 10}),
]


def test_there_is_one_fault_for_each_check() -> None:
    """A new check needs a place in the order."""
    assert len(FAULTS) == len(CHECKS)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(FAULTS, 2)))
def test_first_failing_check_names_the_reason(
    first: tuple[Reason, dict[str, Any]], second: tuple[Reason, dict[str, Any]]
) -> None:
    """A signal with two faults is always refused for the same one, in live, simulated and replayed runs."""
    case = make_case(**{**second[1], **first[1]})

    assert reason_of(case) is first[0]


@pytest.mark.parametrize(
    ("prices", "mark"),
    [
        ({"bid": "99.9", "ask": "100.2"}, "100.05"),
        ({"bid": None, "last": "100"}, "100"),
        ({"ask": None, "last": "100"}, "100"),
        ({"ask": None, "last": None}, None),
    ],
)
def test_mark_is_the_middle_or_the_last_price(prices: dict[str, Any], mark: str | None) -> None:
    """Half of a two-sided market; without one, what was traded last."""
    assert make_reference(**prices).mark() == (None if mark is None else Decimal(mark))


any_decimal = st.decimals(allow_nan=True, allow_infinity=True)


@given(
    quantity=any_decimal,
    limit_price=st.none() | any_decimal,
    order_type=st.sampled_from(["limit", "market"]),
    action=st.sampled_from(["buy", "sell"]),
    bid=st.none() | st.floats(min_value=1e-9, max_value=1e15).map(lambda price: Decimal(repr(price))),
)
def test_whatever_the_amounts_are_there_is_a_verdict(
    quantity: Decimal, limit_price: Decimal | None, order_type: str, action: str, bid: Decimal | None
) -> None:
    """No amount makes a check raise, and what passes is finite, on the grid and within every limit."""
    case = make_case(
        instrument=WIDE,
        reference={"bid": bid},
        quantity=quantity,
        limit_price=limit_price,
        order_type=order_type,
        action=action,
    )

    if reason_of(case) is None:
        assert 0 < quantity <= case.instrument.max_quantity
        assert quantity % case.instrument.lot_size == 0
        assert (limit_price is None) == (order_type == "market")
        assert case.notional is not None
        assert 0 < case.notional <= case.instrument.max_notional


def test_instrument_table_itself_has_no_absurd_limits() -> None:
    """The checks lean on it: a lot size of zero would let every quantity pass or none."""
    for field in ("tick_size", "lot_size", "max_quantity", "max_notional"):
        with pytest.raises((ValueError, InvalidValueError)):
            make_instrument(**{field: Decimal("NaN")})
