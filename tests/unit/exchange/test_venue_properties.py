"""What holds at the simulated venue for any sequence of orders, quotes, prints and times."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from support.exchange_builders import (
    NOW_NS,
    make_cancel,
    make_instrument,
    make_submit,
    make_tick,
    make_ticks,
    make_trade,
    submit,
)

from common.events.market import Tick, Trade
from common.events.venue import CancelOrder, ExecutionReported, ExecutionType, SubmitOrder
from common.instruments import InstrumentTable
from exchange.desk import OrderDesk
from exchange.memory_ledger import MemoryLedger
from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.orders import VenueOrder
from exchange.simulated.venue import SimulatedVenue

# A small market, so that orders and quotes meet often.
INSTRUMENT = make_instrument(tick_size=Decimal(1), lot_size=Decimal(1))
LATENCY_US = 3
STEP_NS = 1_000

Step = SubmitOrder | CancelOrder | Tick | Trade
prices = st.integers(8, 12)
sizes = st.integers(0, 4)
sides = st.sampled_from(["buy", "sell"])


@st.composite
def submissions(draw: st.DrawFn) -> SubmitOrder:
    """An order of any kind; its id is set when the script is put together."""
    is_limit = draw(st.booleans())
    return make_submit(
        side=draw(sides),
        order_type="limit" if is_limit else "market",
        limit_price=Decimal(draw(prices)) if is_limit else None,
        quantity=Decimal(draw(st.integers(1, 5))),
        time_in_force=draw(st.sampled_from(["gtc", "ioc", "fok"])),
    )


@st.composite
def ticks(draw: st.DrawFn) -> Tick:
    """A quote, now and then crossed or one-sided."""
    return make_tick(
        bid=draw(st.none() | prices.map(float)),
        ask=draw(st.none() | prices.map(float)),
        bid_size=float(draw(sizes)),
        ask_size=float(draw(sizes)),
    )


@st.composite
def prints(draw: st.DrawFn) -> Trade:
    """A public trade."""
    aggressor_side = draw(st.none() | sides)
    return make_trade(price=float(draw(prices)), quantity=float(draw(sizes)), aggressor_side=aggressor_side)


cancels = st.integers(0, 10).map(lambda number: make_cancel(f"order-{number}"))
steps = st.tuples(st.integers(0, 5), submissions() | ticks() | ticks() | prints() | cancels)
scripts = st.lists(steps, max_size=40)
Script = list[tuple[int, Step]]


def timed(script: Script) -> Iterator[tuple[int, Step]]:
    """The steps with rising times, and orders with ids of their own."""
    now_ns = NOW_NS
    for index, (wait, step) in enumerate(script):
        now_ns += wait * STEP_NS
        match step:
            case SubmitOrder():
                yield now_ns, make_submit(**{**fields_of(step), "client_order_id": f"order-{index}"})
            case Tick():
                yield now_ns, make_tick(**{**fields_of(step), "timestamp_ns": now_ns})
            case Trade():
                yield now_ns, make_trade(**{**fields_of(step), "timestamp_ns": now_ns})
            case CancelOrder():
                yield now_ns, step


def fields_of(message: SubmitOrder | Tick | Trade) -> dict[str, Any]:
    """What a builder needs to make the message again."""
    identity = {"source", "epoch", "seq"}
    return {name: getattr(message, name) for name in message.__struct_fields__ if name not in identity}


def make_venue() -> SimulatedVenue:
    """A venue with a latency of three steps."""
    return SimulatedVenue(SimulatedVenueConfig(order_entry_latency_us=LATENCY_US), InstrumentTable([INSTRUMENT]))


def take_step(venue: SimulatedVenue, now_ns: int, step: Step) -> list[ExecutionReported]:
    """Give one step to the venue."""
    match step:
        case SubmitOrder():
            submit(venue, step, now_ns)
        case CancelOrder():
            venue.cancel(step.client_order_id, now_ns)
            return venue.advance(now_ns)
        case Tick():
            return venue.on_tick(step)
        case Trade():
            return venue.on_trade(step)
    return []


def play(script: Script) -> list[ExecutionReported]:
    """All reports of a script."""
    venue = make_venue()
    return [report for now_ns, step in timed(script) for report in take_step(venue, now_ns, step)]


def orders_of(script: Script) -> dict[str, SubmitOrder]:
    """The orders of a script by id."""
    return {step.client_order_id: step for _, step in timed(script) if isinstance(step, SubmitOrder)}


@given(scripts)
def test_no_order_is_filled_beyond_its_quantity_or_beyond_its_limit(script: Script) -> None:
    """Every report adds up, no fill is worse than the limit, and nothing follows an order's end."""
    orders = orders_of(script)

    reports = play(script)

    filled = dict.fromkeys(orders, Decimal(0))
    ended: set[str] = set()
    for report in reports:
        order = orders[report.client_order_id]
        assert report.client_order_id not in ended
        filled[report.client_order_id] += report.quantity
        assert filled[report.client_order_id] == report.filled_quantity <= order.quantity
        if report.price is not None and order.limit_price is not None:
            assert report.price <= order.limit_price if order.side == "buy" else report.price >= order.limit_price
        if report.execution_type is ExecutionType.TRADE:
            assert report.leaves_quantity == order.quantity - report.filled_quantity
        if report.leaves_quantity == 0:
            ended.add(report.client_order_id)


@given(scripts)
def test_execution_numbers_have_no_hole(script: Script) -> None:
    """One series from 1 on."""
    reports = play(script)

    assert [report.execution_number for report in reports] == list(range(1, len(reports) + 1))


@given(scripts)
def test_fok_is_all_or_nothing_and_only_limit_gtc_rests(script: Script) -> None:
    """A fill-or-kill order is filled whole in one report or not at all; what cannot rest ends when it arrives."""
    orders = orders_of(script)

    reports = play(script)

    for report in reports:
        order = orders[report.client_order_id]
        if order.time_in_force == "fok":
            assert report.filled_quantity in (0, order.quantity)
        if report.liquidity == "maker":
            assert (order.order_type, order.time_in_force) == ("limit", "gtc")


class ShownSizes:
    """What the market showed and what was filled from it, kept apart from the venue's own count."""

    def __init__(self) -> None:
        self.quotes: dict[str, tuple[float | None, float | None]] = {"buy": (None, 0.0), "sell": (None, 0.0)}
        self.filled = {"buy": Decimal(0), "sell": Decimal(0)}

    def show(self, tick: Tick) -> None:
        """Apply a tick: a buyer meets the ask, a seller the bid."""
        for side, quote in (("buy", (tick.ask, tick.ask_size)), ("sell", (tick.bid, tick.bid_size))):
            if quote != self.quotes[side]:
                self.quotes[side] = quote
                self.filled[side] = Decimal(0)

    def fill(self, report: ExecutionReported) -> None:
        """Use up what a report was filled from."""
        price, size = self.quotes[report.side]
        self.filled[report.side] += report.quantity
        assert price is not None
        assert self.filled[report.side] <= Decimal(size or 0)
        if report.liquidity == "taker":
            assert report.price == price


@given(scripts)
def test_fills_of_one_quote_or_print_never_exceed_what_it_showed(script: Script) -> None:
    """Takers meet the market before the tick that activates them, makers the market after it or the print."""
    venue = make_venue()
    shown = ShownSizes()

    for now_ns, step in timed(script):
        reports = [report for report in take_step(venue, now_ns, step) if report.price is not None]
        makers = [report for report in reports if report.liquidity == "maker"]
        for report in reports:
            if report.liquidity == "taker":
                shown.fill(report)
        if isinstance(step, Trade):
            assert sum(report.quantity for report in makers) <= Decimal(step.quantity)
            continue
        if isinstance(step, Tick):
            shown.show(step)
        for report in makers:
            shown.fill(report)


@given(scripts)
def test_the_same_input_gives_the_same_output(script: Script) -> None:
    """No hidden clock, chance or order of a set."""
    assert play(script) == play(script)


@given(scripts, st.data())
def test_advancing_between_messages_changes_nothing(script: Script, data: st.DataObject) -> None:
    """However often the service comes round, fills are the same, as long as no older tick is still in its socket."""
    venue = make_venue()
    reports = []
    last_ns = NOW_NS

    for now_ns, step in timed(script):
        reports += venue.advance(data.draw(st.integers(last_ns, now_ns)))
        reports += take_step(venue, now_ns, step)
        last_ns = now_ns

    expected = play(script)
    assert reports[: len(expected)] == expected


chunks = st.lists(submissions() | st.lists(ticks(), min_size=1, max_size=8), max_size=16)


@given(chunks)
@example([[make_tick(ask=9.0, ask_size=2.0)], make_submit(limit_price="9"), [make_tick(ask=9.0, ask_size=2.0)]])
def test_batch_has_the_effect_of_its_ticks_one_by_one(script: list[SubmitOrder | list[Tick]]) -> None:
    """Whether the gateway packs ticks is no business of the orders."""
    apart, packed = make_venue(), make_venue()
    now_ns = NOW_NS
    # The probes at the end tell what is left of the last quotes.
    probes = [make_submit(side=side, order_type="market", quantity="5") for side in ("buy", "sell")]

    for index, chunk in enumerate([*script, *probes]):
        if isinstance(chunk, SubmitOrder):
            order = make_submit(**{**fields_of(chunk), "client_order_id": f"order-{index}"})
            assert submit(apart, order, now_ns) == submit(packed, order, now_ns)
            continue
        messages = []
        for tick in chunk:
            now_ns += STEP_NS
            messages.append(make_tick(**{**fields_of(tick), "timestamp_ns": now_ns}))
        one_by_one = [report for message in messages for report in apart.on_tick(message)]
        assert packed.on_ticks(make_ticks(messages)) == one_by_one

    end_ns = now_ns + LATENCY_US * STEP_NS
    assert apart.advance(end_ns) == packed.advance(end_ns)


def state_of(order: VenueOrder) -> tuple[object, ...]:
    """Whatever decides what an order can still do."""
    return tuple(getattr(order, name) for name in order.__slots__)


@given(scripts)
def test_restored_venue_has_the_same_open_orders_and_numbers(script: Script) -> None:
    """All that a restart needs is in the ledger."""
    ledger = MemoryLedger()
    venue = make_venue()
    desk = OrderDesk(venue, ledger)
    now_ns = NOW_NS
    for now_ns, step in timed(script):
        if isinstance(step, SubmitOrder | CancelOrder):
            desk.handle(step, now_ns)
        else:
            desk.market(step)

    restored = make_venue()
    restored_desk = OrderDesk(restored, ledger)

    assert [state_of(order) for order in restored.open_orders()] == [state_of(order) for order in venue.open_orders()]
    probe = make_submit("probe")
    assert restored_desk.handle(probe, now_ns) == submit(venue, probe, now_ns)
