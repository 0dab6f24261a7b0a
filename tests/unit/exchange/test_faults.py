"""A venue that misbehaves on demand: each fault does what it says, when it is told to, and is read with care."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.exchange_builders import (
    NOW_NS,
    make_cancel,
    make_query,
    make_query_account,
    make_resend,
    make_submit,
    make_tick,
    make_venue,
)

from common.errors import ConfigError
from common.events.base import Message
from common.events.venue import (
    AccountReported,
    AnswerOutcome,
    ExecutionReported,
    ExecutionsResent,
    ExecutionType,
    OrderAnswered,
)
from exchange.desk import OrderDesk
from exchange.fault_file import make_plan, read_faults
from exchange.ledger import Ledger
from exchange.ledger_reading import read_ledger
from exchange.memory_ledger import MemoryLedger
from exchange.simulated.faults import Fault, FaultName, FaultPlan, FaultsConfig, RememberedFor
from exchange.simulated.faulty_line import CrashInjected, FaultyLine
from exchange.simulated.forgetting import ClientIdMemory

MS = 1_000_000
EXAMPLE = Path(__file__).parents[3] / "examples" / "faults.toml"


class World:
    """A desk without latency behind a faulty line; the market is 99 to 101."""

    def __init__(self, *faults: Fault, memory: Any = "forever", ledger: Any = None) -> None:
        self.ledger = MemoryLedger() if ledger is None else ledger
        config = FaultsConfig(fault=list(faults), client_id_memory=memory)
        self.plan = FaultPlan(config, lambda: 0.5)
        venue = make_venue(faults=self.plan)
        venue.on_tick(make_tick())
        self.desk = OrderDesk(venue, self.ledger)
        self.line = FaultyLine(self.desk, self.plan, ClientIdMemory(config, self.ledger.find), 0)
        self.now_ns = NOW_NS

    def ask(self, request: Message, asker: str = "executor") -> list[Message]:
        """Send a request, and take what leaves at once."""
        self.line.receive(asker, request, self.now_ns)
        return self.take()

    def match(self) -> list[Message]:
        """Let orders meet the market, and take what leaves at once."""
        self.line.report(self.desk.advance(self.now_ns), self.now_ns)
        return self.take()

    def wait(self, ms: int) -> list[Message]:
        """Let time pass, and take what leaves then."""
        self.now_ns += ms * MS
        return self.take()

    def take(self) -> list[Message]:
        """What leaves now."""
        return [delivery.message for delivery in self.line.take_due(self.now_ns)]


def make_fault(name: FaultName, at: int = 1, ms: int | None = None) -> Fault:
    """A fault at one occasion."""
    return Fault(name=name, at=[at], ms=ms)


def make_market_order(name: str = "order-1", quantity: str = "1") -> Message:
    """An order that is filled at 101 as soon as it meets the market."""
    return make_submit(name, order_type="market", quantity=quantity)


def kinds(messages: list[Message]) -> list[str]:
    """What left, in short."""
    return [message.kind for message in messages]


def test_line_without_faults_changes_nothing() -> None:
    """Answer, then report."""
    world = World()

    assert kinds(world.ask(make_market_order())) == ["order_answer"]
    assert kinds(world.match()) == ["execution"]


def test_answer_goes_to_its_asker_and_report_to_everyone() -> None:
    """A report has no asker."""
    world = World()

    world.line.receive("executor", make_market_order(), NOW_NS)
    world.line.report(world.desk.advance(NOW_NS), NOW_NS)

    assert [delivery.asker for delivery in world.line.take_due(NOW_NS)] == ["executor", None]


def test_lost_answer_never_leaves_though_the_order_is_placed() -> None:
    """The ledger is the witness."""
    world = World(make_fault(FaultName.ANSWER_LOST))

    assert world.ask(make_submit()) == []
    assert world.wait(100_000) == []
    assert world.ledger.find("order-1") is not None
    assert kinds(world.ask(make_query())) == ["order_answer"]


def test_late_answer_leaves_when_it_is_due() -> None:
    """Not before."""
    world = World(make_fault(FaultName.ANSWER_LATE, ms=50))

    assert world.ask(make_submit()) == []
    assert world.wait(49) == []
    assert kinds(world.wait(1)) == ["order_answer"]


def test_duplicated_answer_leaves_twice() -> None:
    """Word for word."""
    first, second = World(make_fault(FaultName.ANSWER_DUPLICATED)).ask(make_submit())

    assert first == second


@pytest.mark.parametrize("is_filled", [True, False])
def test_answer_waits_for_the_first_report_of_its_order_but_not_for_ever(*, is_filled: bool) -> None:
    """The fill overtakes it; where there is none it leaves at last."""
    world = World(make_fault(FaultName.ANSWER_AFTER_FILL, ms=500))
    order = make_market_order() if is_filled else make_submit()

    at_once = world.ask(order)
    on_match = world.match()
    at_last = world.wait(500)

    assert at_once == []
    assert kinds(on_match) == (["execution", "order_answer"] if is_filled else [])
    assert kinds(at_last) == ([] if is_filled else ["order_answer"])


def test_fill_leaves_before_the_answer() -> None:
    """Both at once, in this order."""
    world = World(make_fault(FaultName.FILL_BEFORE_ANSWER))

    assert kinds(world.ask(make_market_order())) == ["execution", "order_answer"]


def test_reordered_report_leaves_after_the_next_one() -> None:
    """Numbers 2 and 1."""
    world = World(make_fault(FaultName.EXECUTIONS_REORDERED))
    world.ask(make_market_order("order-1"))
    world.ask(make_market_order("order-2"))

    assert numbers(world.match()) == [2, 1]


def test_reordered_report_without_a_next_one_leaves_after_a_while() -> None:
    """It is late, not lost."""
    world = World(make_fault(FaultName.EXECUTIONS_REORDERED, ms=100))
    world.ask(make_market_order())

    assert world.match() == []
    assert world.wait(99) == []
    assert numbers(world.wait(1)) == [1]


def test_duplicated_report_leaves_twice_under_one_number() -> None:
    """The ledger has it once."""
    world = World(make_fault(FaultName.EXECUTION_DUPLICATED))
    world.ask(make_market_order())

    assert numbers(world.match()) == [1, 1]
    assert world.ledger.last_execution_number() == 1


def test_corrected_trade_is_reported_with_another_price_and_number() -> None:
    """The account follows."""
    world = World(make_fault(FaultName.EXECUTION_CORRECTED))
    world.ask(make_market_order())

    trade, correction = reports(world.match())

    assert (correction.execution_type, correction.execution_number) == (ExecutionType.TRADE_CORRECT, 2)
    assert (correction.corrects, trade.price, correction.price) == (1, 101, Decimal("101.1"))
    assert account_of(world).cash == {"USDT": Decimal("-101.1") * Decimal("1.0005")}


def test_cancelled_trade_never_was_and_its_order_has_ended() -> None:
    """Nothing is held, nothing is paid, and the order is not filled."""
    world = World(make_fault(FaultName.TRADE_CANCELLED))
    world.ask(make_market_order())

    _, correction = reports(world.match())
    account = account_of(world)
    [answer] = world.ask(make_query())

    assert (correction.execution_type, correction.corrects) == (ExecutionType.TRADE_CANCEL, 1)
    assert (correction.filled_quantity, correction.leaves_quantity) == (0, 0)
    assert (account.positions, account.cash) == ([], {"USDT": 0})
    assert isinstance(answer, OrderAnswered)
    assert (answer.status, answer.filled_quantity) == ("cancelled", 0)


def test_trade_that_leaves_something_working_is_not_cancelled() -> None:
    """It is no occasion for it."""
    world = World(make_fault(FaultName.TRADE_CANCELLED))
    world.ask(make_submit(limit_price="101", quantity="11"))

    assert numbers(world.match()) == [1]


def test_rejected_order_is_in_the_ledger_with_its_refusal() -> None:
    """It is the venue's answer, for ever."""
    world = World(make_fault(FaultName.REJECT))

    [answer] = world.ask(make_submit())
    [repeat] = world.ask(make_submit())

    assert isinstance(answer, OrderAnswered)
    assert isinstance(repeat, OrderAnswered)
    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, "FAULT_INJECTED")
    assert (repeat.outcome, repeat.status) == (AnswerOutcome.EXISTS, "rejected")


def test_throttled_request_is_not_done_and_may_be_asked_again() -> None:
    """Nothing of it is kept."""
    world = World(make_fault(FaultName.THROTTLE))

    [answer] = world.ask(make_submit())
    [again] = world.ask(make_submit())

    assert isinstance(answer, OrderAnswered)
    assert isinstance(again, OrderAnswered)
    assert (answer.outcome, again.outcome) == (AnswerOutcome.THROTTLED, AnswerOutcome.ACCEPTED)


def test_disconnected_venue_does_what_is_asked_and_says_nothing() -> None:
    """Answers and reports of that time are lost; reports can be asked for by number."""
    world = World(make_fault(FaultName.DISCONNECT, ms=1_000))

    assert world.ask(make_market_order()) == []
    assert world.match() == []
    assert world.wait(999) == []
    assert world.wait(1) == []
    [resent] = world.ask(make_resend())
    assert isinstance(resent, ExecutionsResent)
    assert numbers(list(resent.executions)) == [1]


def test_slow_request_is_looked_at_later() -> None:
    """It may have expired on its way."""
    world = World(make_fault(FaultName.SLOW, ms=10))

    at_once = world.ask(make_submit(expires_ns=NOW_NS + 5 * MS))
    is_known = world.ledger.find("order-1") is not None
    [answer] = world.wait(10)

    assert (at_once, is_known) == ([], False)
    assert isinstance(answer, OrderAnswered)
    assert (answer.outcome, answer.reason) == (AnswerOutcome.REJECTED, "EXPIRED")


@pytest.mark.parametrize(
    ("name", "is_kept"), [(FaultName.CRASH_BEFORE_ACCEPT, False), (FaultName.CRASH_AFTER_ACCEPT, True)]
)
def test_crash_leaves_the_order_unknown_or_durable(name: FaultName, *, is_kept: bool) -> None:
    """Nobody is told either way. A question is no occasion for it."""
    world = World(make_fault(name))
    world.ask(make_query())

    with pytest.raises(CrashInjected):
        world.ask(make_submit())

    assert (world.ledger.find("order-1") is not None) == is_kept


@pytest.mark.parametrize(("ms", "outcome"), [(5, AnswerOutcome.REJECTED), (-5, AnswerOutcome.ACCEPTED)])
def test_skewed_clock_judges_expiry(ms: int, outcome: AnswerOutcome) -> None:
    """One ahead refuses what has some ms left, one behind takes what has none."""
    world = World(make_fault(FaultName.CLOCK_SKEW, ms=ms))

    [answer] = world.ask(make_submit(expires_ns=NOW_NS + (3 * MS if ms > 0 else 0)))

    assert isinstance(answer, OrderAnswered)
    assert answer.outcome is outcome


# The memory for ids


@pytest.mark.parametrize("memory", ["forever", "open", RememberedFor(seconds=60.0)])
def test_working_order_is_known(memory: Any) -> None:
    """A repeat finds it, so there is one order."""
    world = World(memory=memory)
    world.ask(make_submit())

    [answer] = world.ask(make_submit())

    assert isinstance(answer, OrderAnswered)
    assert answer.outcome is AnswerOutcome.EXISTS
    assert len(world.ledger.open_orders()) == 1


@pytest.mark.parametrize(
    ("memory", "waited_ms", "is_known"),
    [
        ("forever", 90_000, True),
        ("open", 0, False),
        (RememberedFor(seconds=60.0), 60_000, True),
        (RememberedFor(seconds=60.0), 60_001, False),
        ("none", 0, False),
    ],
)
def test_finished_order_is_known_as_long_as_the_venue_remembers(memory: Any, waited_ms: int, *, is_known: bool) -> None:
    """After that a question proves nothing, and a repeat is filled a second time."""
    world = World(memory=memory)
    world.ask(make_market_order())
    world.match()
    world.wait(waited_ms)

    [asked] = world.ask(make_query())
    [repeated] = world.ask(make_market_order())
    world.match()

    assert isinstance(asked, OrderAnswered)
    assert isinstance(repeated, OrderAnswered)
    assert asked.outcome is (AnswerOutcome.ACCEPTED if is_known else AnswerOutcome.UNDECIDED)
    assert repeated.outcome is (AnswerOutcome.EXISTS if is_known else AnswerOutcome.ACCEPTED)
    assert [position.quantity for position in account_of(world).positions] == [1 if is_known else 2]


def test_orders_of_one_forgotten_id_are_told_apart_by_nobody_but_the_ledger(tmp_path: Path) -> None:
    """Answers, reports, resent reports and the account all use the client's id; the ledger shows the duplicate."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        world = World(memory="none", ledger=ledger)
        told = [*world.ask(make_submit(limit_price="101", quantity="1")), *world.match()]
        told += world.ask(make_submit(limit_price="101", quantity="20"))
        told += world.match()
        [resent] = world.ask(make_resend())
        account = account_of(world)

    assert isinstance(resent, ExecutionsResent)
    assert {getattr(message, "client_order_id", None) for message in (*told, *resent.executions)} == {"order-1"}
    assert [order.client_order_id for order in account.open_orders] == ["order-1"]
    assert read_ledger(tmp_path / "ledger.sqlite")["summary"]["duplicate_orders"] == 1


@pytest.mark.parametrize(
    ("memory", "age_ms", "is_proof"),
    [
        ("forever", None, True),
        ("open", 0, False),
        ("none", 0, False),
        (RememberedFor(seconds=1.5), 1_500, True),
        (RememberedFor(seconds=1.5), 1_501, False),
        (RememberedFor(seconds=1.5), None, False),
    ],
)
def test_venue_says_whether_finding_nothing_proves_anything(memory: Any, age_ms: int | None, *, is_proof: bool) -> None:
    """An order that it never had, and one that it has forgotten, look alike to it."""
    since_ns = None if age_ms is None else NOW_NS - age_ms * MS

    [answer] = World(memory=memory).ask(make_query(since_ns=since_ns))

    assert isinstance(answer, OrderAnswered)
    assert answer.outcome is (AnswerOutcome.NOT_FOUND if is_proof else AnswerOutcome.UNDECIDED)


def test_order_that_works_is_cancelled_also_by_a_venue_that_knows_no_client_ids() -> None:
    """It goes by the venue's own id; a question and a repeat do not."""
    world = World(memory="none")
    world.ask(make_submit())

    [asked] = world.ask(make_query())
    [cancelled] = world.ask(make_cancel())

    assert isinstance(asked, OrderAnswered)
    assert isinstance(cancelled, OrderAnswered)
    assert (asked.outcome, cancelled.outcome) == (AnswerOutcome.UNDECIDED, AnswerOutcome.ACCEPTED)
    assert world.ledger.open_orders() == []


def test_memory_follows_the_newest_of_several_orders() -> None:
    """What works is known, though an older order of the id is finished and forgotten."""
    world = World(memory="open")
    world.ask(make_market_order())
    world.match()
    world.ask(make_submit())

    [answer] = world.ask(make_cancel())

    assert isinstance(answer, OrderAnswered)
    assert (answer.outcome, answer.venue_order_id) == (AnswerOutcome.ACCEPTED, "sim-2")


# The plan


def test_fault_occurs_at_its_occasions_only() -> None:
    """Counted from 1; what occurred is counted too."""
    plan = FaultPlan(FaultsConfig(fault=[Fault(name="reject", at=[2, 4])]), lambda: 0.0)

    occurred = [plan.occurs(FaultName.REJECT) is not None for _ in range(5)]

    assert occurred == [False, True, False, True, False]
    assert plan.injected["reject"] == 2
    assert plan.occurs(FaultName.SLOW) is None


def test_fault_with_a_probability_occurs_when_the_draw_says_so() -> None:
    """Below the probability, not at it."""
    draws = iter([0.1, 0.3, 0.29])
    plan = FaultPlan(FaultsConfig(fault=[Fault(name="reject", probability=0.3)]), lambda: next(draws))

    assert [plan.occurs(FaultName.REJECT) is not None for _ in range(3)] == [True, False, True]


def test_plan_is_the_same_for_the_same_seed_and_another_in_the_next_life() -> None:
    """A run can be repeated, and a crash is not repeated for ever."""

    def occurred(seed: int, order_count: int) -> list[bool]:
        config = FaultsConfig(seed=seed, fault=[Fault(name="reject", probability=0.5)])
        plan = make_plan(config, order_count)
        return [plan.occurs(FaultName.REJECT) is not None for _ in range(50)]

    assert occurred(1, 0) == occurred(1, 0)
    assert occurred(1, 0) != occurred(1, 1)
    assert occurred(1, 0) != occurred(2, 0)


# The file


def test_example_file_names_every_fault() -> None:
    """Whoever reads it sees all there is."""
    config = read_faults(EXAMPLE)

    assert {fault.name for fault in config.fault} == set(FaultName)
    assert (config.seed, config.client_id_memory) == (7, "forever")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[fault]]\nname = "answer_lots"\nat = [1]', "unknown fault 'answer_lots'; did you mean answer_lost?"),
        ('[[fault]]\nname = "qqq"\nat = [1]', "known: answer_lost, answer_late"),
        ('[[fault]]\nname = "reject"', "expected a probability above 0, or occasions"),
        ('[[fault]]\nname = "reject"\nat = [0]', "fault.[0].at.[0]"),
        ('[[fault]]\nname = "reject"\nprobability = 1.5', "fault.[0].probability"),
        ('[[fault]]\nname = "reject"\nat = [1]\nms = 5', "reject: takes no ms"),
        ('[[fault]]\nname = "slow"\nat = [1]', "slow: expected ms"),
        ('[[fault]]\nname = "slow"\nat = [1]\nms = -1', "slow: expected ms of 0 or more, was -1"),
        ('[[fault]]\nname = "slow"\nat = [1]\nmss = 1', "unknown key; did you mean ms?"),
        ("seeds = 1", "faults.seeds: unknown key; did you mean seed?"),
        ('client_id_memory = "never"', "faults.client_id_memory"),
        ("client_id_memory = { seconds = 0 }", "faults.client_id_memory"),
        ("seed =", "expected TOML"),
    ],
)
def test_mistake_in_a_fault_file_is_named_with_its_file(tmp_path: Path, text: str, expected: str) -> None:
    """Before anything starts."""
    path = tmp_path / "faults.toml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        read_faults(path)

    assert str(caught.value).startswith(f"fault file {path}: ")
    assert expected in str(caught.value)


def test_missing_fault_file_is_named(tmp_path: Path) -> None:
    """With what the operating system says."""
    with pytest.raises(ConfigError, match="expected a readable TOML file, No such file"):
        read_faults(tmp_path / "faults.toml")


def numbers(messages: list[Any]) -> list[int]:
    """The numbers of reports."""
    return [report.execution_number for report in reports(messages)]


def reports(messages: list[Any]) -> list[ExecutionReported]:
    """The messages, which must all be reports."""
    assert all(isinstance(message, ExecutionReported) for message in messages)
    return messages


def account_of(world: World) -> AccountReported:
    """Ask for the account."""
    [answer] = world.ask(make_query_account())
    assert isinstance(answer, AccountReported)
    return answer
