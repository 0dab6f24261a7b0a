"""What holds at the order desk for any sequence of requests, ticks and deaths of the process."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st
from support.exchange_builders import NOW_NS, make_cancel, make_instrument, make_query, make_submit, make_tick

from common.errors import FatalError
from common.events.market import Tick
from common.events.trading import OrderStatus
from common.events.venue import AnswerOutcome, CancelOrder, ExecutionReported, OrderAnswered, SubmitOrder
from common.instruments import InstrumentTable
from exchange.desk import OrderDesk
from exchange.memory_ledger import MemoryLedger
from exchange.records import RecordedReplacement
from exchange.simulated.config import SimulatedVenueConfig
from exchange.simulated.venue import SimulatedVenue

INSTRUMENT = make_instrument(tick_size=Decimal(1), lot_size=Decimal(1))

Death = Literal["die_at_next_write", "restart"]
Step = SubmitOrder | CancelOrder | Tick | Death

# Few ids, so that most submissions are repeats, some of them with other terms.
names = st.sampled_from(["order-1", "order-2", "order-3", "order-4"])
submissions = st.builds(
    make_submit,
    names,
    quantity=st.sampled_from(["1", "3", "0.5"]),
    limit_price=st.sampled_from(["9", "10", "11"]),
    time_in_force=st.sampled_from(["gtc", "ioc"]),
)
ticks = st.builds(
    make_tick, bid=st.just(8.0), ask=st.sampled_from([9.0, 10.0, 11.0]), ask_size=st.sampled_from([1.0, 2.0])
)
deaths = st.sampled_from(["die_at_next_write", "restart"])
scripts = st.lists(submissions | st.builds(make_cancel, names) | ticks | deaths, max_size=40)


class MortalLedger(MemoryLedger):
    """A ledger whose process dies at a write: before it is kept."""

    dies_at_next_write = False

    def record_submission(self, request: SubmitOrder, answer: OrderAnswered, now_ns: int) -> bool:
        """Keep it, or die."""
        self._live_or_die()
        return super().record_submission(request, answer, now_ns)

    def record_executions(
        self, executions: Sequence[ExecutionReported], replacement: RecordedReplacement | None = None
    ) -> None:
        """Keep them, or die."""
        self._live_or_die()
        super().record_executions(executions, replacement)

    def _live_or_die(self) -> None:
        if self.dies_at_next_write:
            self.dies_at_next_write = False
            raise FatalError("killed")


class World:
    """An exchange that is killed and started again, and all that anyone was ever told by it."""

    def __init__(self) -> None:
        self.ledger = MortalLedger()
        self.answers: list[OrderAnswered] = []
        self.reports: list[ExecutionReported] = []
        self.now_ns = NOW_NS
        self.restart()

    def restart(self) -> None:
        """Begin a new life with nothing but the ledger."""
        venue = SimulatedVenue(SimulatedVenueConfig(order_entry_latency_us=2), InstrumentTable([INSTRUMENT]))
        self.desk = OrderDesk(venue, self.ledger)

    def take(self, step: Step) -> None:
        """Let one thing happen; a death ends it half done."""
        self.now_ns += 1_000
        try:
            self._do(step)
        except FatalError:
            self.restart()

    def _do(self, step: Step) -> None:
        match step:
            case "die_at_next_write":
                self.ledger.dies_at_next_write = True
            case "restart":
                self.restart()
            case Tick():
                self.reports += self.desk.market(
                    make_tick(ask=step.ask, ask_size=step.ask_size, bid=step.bid, timestamp_ns=self.now_ns)
                )
            case SubmitOrder() | CancelOrder():
                answer = self.desk.handle(step, self.now_ns)
                assert isinstance(answer, OrderAnswered)
                self.answers.append(answer)
        self.reports += self.desk.advance(self.now_ns)

    def query(self, client_order_id: str) -> OrderAnswered:
        """Ask for the state of an order."""
        answer = self.desk.handle(make_query(client_order_id), self.now_ns)
        assert isinstance(answer, OrderAnswered)
        return answer


def play(script: list[Step]) -> World:
    """Run a script to its end."""
    world = World()
    for step in script:
        world.take(step)
    return world


@given(scripts)
def test_one_id_has_one_order_for_ever(script: list[Step]) -> None:
    """Over all lives, every answer and report that names an order's venue id names the same one."""
    world = play(script)

    told = world.answers + world.reports
    places = {(message.client_order_id, message.venue_order_id) for message in told if message.venue_order_id}
    assert len({name for name, _ in places}) == len(places)
    assert len({place for _, place in places}) == len(places)


@given(scripts)
def test_an_order_that_was_answered_is_never_forgotten(script: list[Step]) -> None:
    """Whatever dies, a query after ACCEPTED, REJECTED or EXISTS never says NOT_FOUND."""
    world = play(script)

    known = {AnswerOutcome.ACCEPTED, AnswerOutcome.REJECTED, AnswerOutcome.EXISTS}
    for answer in world.answers:
        if answer.outcome in known:
            assert world.query(answer.client_order_id).outcome is AnswerOutcome.ACCEPTED


@given(scripts)
def test_what_was_told_is_what_the_ledger_holds(script: list[Step]) -> None:
    """No report is told that is not durable, none is told twice with another content, and numbers have no hole."""
    world = play(script)

    kept = {report.execution_number: report for report in world.ledger.executions_from(1, 1_000)}
    assert list(kept) == list(range(1, len(kept) + 1))
    for report in world.reports:
        assert kept[report.execution_number] == report


@given(scripts)
def test_fills_in_the_ledger_add_up_to_the_state_of_each_order(script: list[Step]) -> None:
    """Journal, state and venue agree to the last digit, and no order is filled beyond its quantity."""
    world = play(script)

    for name in ("order-1", "order-2", "order-3", "order-4"):
        recorded = world.ledger.find(name)
        executions = [report for report in world.ledger.executions_from(1, 1_000) if report.client_order_id == name]
        filled = sum((report.quantity for report in executions), Decimal(0))
        if recorded is None:
            assert executions == []
            continue
        assert filled == recorded.filled_quantity <= recorded.terms.quantity
        assert (filled == recorded.terms.quantity) == (recorded.status is OrderStatus.FILLED)
