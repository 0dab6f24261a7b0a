"""Histories full of faults: every promise holds, and each safeguard that is taken away breaks one of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chaos.disk import VirtualJournal, VirtualLedger, VirtualOutbox
from chaos.facts import Violation
from chaos.faults import CHANNELS, NETWORK_KINDS, PROCESSES, SCENARIOS, TROUBLE_MS, Fault, FaultKind
from chaos.histories import run_history, scenario_of
from chaos.memory_outbox_store import MemoryOutboxStore
from chaos.plans import ACTIONS, LIMITS, MEMORIES, Command, Plan, draw_plan
from chaos.processes.strategy import StrategyNode
from chaos.world import World
from common.circuit_breaker import CircuitBreaker
from common.crash_points import CRASH_POINTS
from common.events.risk import ControlAction, TradingState
from common.events.trading import CancelRequested
from common.events.venue import SubmitOrder
from common.money import ZERO
from exchange.simulated.faults import Fault as VenueFault
from exchange.simulated.faults import FaultName, FaultsConfig
from exchange.sources import Sources
from executor import gate, risk
from executor.book import Book
from executor.core import AMENDABLE_STATUSES, Executor
from executor.dialogue import ExchangeDialogue
from executor.entries import Entry, OrderIntended, TradingStateMoved
from executor.facts import Facts as ExecutorFacts
from executor.holding import Instruction
from executor.orders import Order
from executor.records import SignalRecord
from executor.safety import Safety
from executor.trading_state import KillSwitch

pytestmark = pytest.mark.unmeasured
SEEDS_OF_A_SAFEGUARD = 20
TIMES_MS = st.integers(50, TROUBLE_MS - 50)
FAULTS = st.one_of(
    st.builds(Fault, st.sampled_from(NETWORK_KINDS), TIMES_MS, st.sampled_from(CHANNELS), st.integers(20, 800)),
    st.builds(Fault, st.just(FaultKind.KILL), TIMES_MS, st.sampled_from(PROCESSES), st.integers(1, 600)),
    st.builds(
        Fault,
        st.just(FaultKind.KILL_INSIDE),
        TIMES_MS,
        st.sampled_from(CRASH_POINTS),
        st.integers(1, 300),
        st.integers(1, 6),
    ),
)


@pytest.mark.parametrize("seed", range(len(SCENARIOS)))
def test_all_promises_hold_through_a_history_of_faults(seed: int) -> None:
    """A history of each scenario; `tickpulse chaos` runs thousands."""
    result = run_history(scenario_of(seed, None), seed)

    assert result.violations == [], result.command
    # Files that were not synced come back from different moments: then to refuse is right, until a person has looked.
    if SCENARIOS[result.scenario].is_synced:
        assert result.unresolved_count == 0
        assert result.rested_ms is not None


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(faults=st.lists(FAULTS, max_size=5))
def test_all_promises_hold_through_any_short_list_of_faults(faults: list[Fault]) -> None:
    """A failure shrinks to the few faults that it needs."""
    result = run_history("calm", 1, Plan(faults=faults))

    assert result.violations == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_each_crash_point_is_passed_and_survived(point: str) -> None:
    """Two deaths at the same place, the second in the life after the first."""
    faults = [Fault(FaultKind.KILL_INSIDE, at_ms, point, 30) for at_ms in (300, 700)]

    result = run_history("calm", 1, Plan(faults=faults))

    assert result.counts["kills inside"] == 2
    assert result.violations == []


def test_same_seed_gives_the_same_history() -> None:
    """Otherwise the command that repeats a failure would be worth nothing."""
    first, again, other = (run_history("storm", seed) for seed in (9, 9, 19))

    assert first == again
    assert first.fingerprint != other.fingerprint


def test_histories_are_about_something() -> None:
    """A pipeline that trades nothing breaks no promise."""
    counts = run_history("calm", 0).counts

    assert counts["orders"] >= 50
    assert counts["executions"] >= 50
    assert counts["signals"] >= 50


def test_plans_are_about_something() -> None:
    """Over a few seeds every fault of the venue, command of people and way to stand still is there."""
    plans = [draw_plan(SCENARIOS["storm"], seed) for seed in range(60)]

    assert {fault.name for plan in plans for fault in plan.venue_faults.fault} == set(FaultName)
    assert {command.action for plan in plans for command in plan.commands} == set(ACTIONS)
    assert {fault.kind for plan in plans for fault in plan.faults} == set(FaultKind)
    assert any(plan.limits == LIMITS for plan in plans)
    assert {plan.venue_faults.client_id_memory for plan in plans} == set(MEMORIES)
    assert {plan.is_venue_certain for plan in plans} == {True, False}


# Each safeguard, taken away. What then breaks is named, so that a promise that nobody checks would be seen.


def find_violation(scenario: str, names: Sequence[str]) -> Violation | None:
    """The first violation of one of these promises within a few seeds."""
    results = (run_history(scenario, seed) for seed in range(SEEDS_OF_A_SAFEGUARD))
    found = (violation for result in results for violation in result.violations if violation.invariant in names)
    return next(found, None)


def test_order_without_a_journal_entry_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the intent is durable before the order leaves."""
    append = VirtualJournal.append

    def forget_intents(journal: VirtualJournal, entries: Sequence[Entry]) -> None:
        append(journal, [entry for entry in entries if not isinstance(entry, OrderIntended)])

    monkeypatch.setattr(VirtualJournal, "append", forget_intents)

    assert find_violation("calm", ["write-ahead"])


def test_intent_written_after_the_order_was_sent_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same safeguard, broken in the subtler way: all is written, but too late for a crash in between."""
    append, waiting = VirtualJournal.append, list[Entry]()

    def append_late(journal: VirtualJournal, entries: Sequence[Entry]) -> None:
        late, waiting[:] = list(waiting), list(entries)
        if late:
            append(journal, late)

    monkeypatch.setattr(VirtualJournal, "append", append_late)

    assert find_violation("crash_points", ["write-ahead", "no duplicate"])


def test_blind_second_order_under_a_fresh_id_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: no answer means unknown, and is asked about under the one id that a signal has."""
    on_unanswered = ExchangeDialogue._on_unanswered

    def resend_blindly(dialogue: ExchangeDialogue, request: Any, now_ns: int) -> None:
        if isinstance(request, SubmitOrder):
            fresh = {"client_order_id": f"again-{request.request_id}", "request_id": f"{request.request_id}-again"}
            dialogue.line.push_first(replace(request, **fresh))
        else:
            on_unanswered(dialogue, request, now_ns)

    monkeypatch.setattr(ExchangeDialogue, "_on_unanswered", resend_blindly)
    # Beside it there is the exchange's own count of orders, which would end the game at the first one too many.
    monkeypatch.setattr(Sources, "exceeds", lambda _sources, _request: False)

    assert find_violation("network", ["no duplicate"])


def test_signal_applied_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: a known signal is answered, not acted on; the journal's unique index is the second net."""

    def act_on_known(
        executor: Executor, _record: SignalRecord, instruction: Instruction, _digest: str, now_ns: int
    ) -> None:
        executor._apply(instruction, now_ns)

    monkeypatch.setattr(Executor, "_on_known", act_on_known)

    assert find_violation("network", ["live"])


def test_order_taken_twice_by_the_exchange_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the desk looks every id up first; the ledger's unique id is the second net."""
    monkeypatch.setattr(VirtualLedger, "find", lambda _ledger, _client_order_id: None)

    assert find_violation("network", ["live", "agreement"])


def test_execution_that_is_not_asked_for_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: a hole in the execution numbers is refilled from the ledger."""
    monkeypatch.setattr(ExchangeDialogue, "ask_for_executions", lambda _dialogue, _now_ns: None)

    assert find_violation("network", ["agreement"])


def test_executor_that_does_not_recover_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: open intents are asked about at the start."""
    monkeypatch.setattr(Executor, "recover", lambda executor, now_ns: executor.ask_for_executions(now_ns))

    assert find_violation("crash_points", ["live", "no loss"])


def without(name: str) -> tuple[risk.Check, ...]:
    """The checks of a signal but for one."""
    checks = tuple(check for check in risk.CHECKS if check.__name__ != name)
    assert len(checks) == len(risk.CHECKS) - 1
    return checks


def test_order_on_a_stale_price_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the check of the reference."""
    monkeypatch.setattr(gate, "CHECKS", without("check_reference"))

    assert find_violation("crashes", ["fail closed"])


def test_queue_without_a_bound_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguards: the check of the queue, and the circuit breaker, which keeps it empty while nobody answers."""
    monkeypatch.setattr(gate, "CHECKS", without("check_queue"))
    monkeypatch.setattr(CircuitBreaker, "on_failure", lambda _breaker, _now_ns: None)

    assert find_violation("partitions", ["bounded"])


def test_outbox_that_is_not_durable_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: what was emitted is on disk before it is sent."""
    for name in ("add", "remove"):
        monkeypatch.setattr(VirtualOutbox, name, getattr(MemoryOutboxStore, name))

    assert find_violation("crashes", ["no loss"])


def test_instructions_out_of_order_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: an instruction waits for the one that it follows."""
    take = Executor._take

    def take_at_once(executor: Executor, instruction: Any, instruction_id: str, now_ns: int) -> None:
        take(executor, replace(instruction, follows=None), instruction_id, now_ns)

    monkeypatch.setattr(Executor, "_take", take_at_once)

    assert find_violation("network", ["order"])


# Kill switch, limits, amendments, fencing: each with a plan of its own, in which it is needed.


def find_planned(names: Sequence[str], plan: Plan) -> Violation | None:
    """The first violation of one of these promises in a calm history with a plan."""
    violations = run_history("calm", 1, plan).violations
    return next((violation for violation in violations if violation.invariant in names), None)


def commanded(action: ControlAction, *faults: Fault, **changes: Any) -> Plan:
    """A person commands everything after half a second."""
    return Plan(faults=faults, commands=[Command(500, action, "all")], **changes)


def test_order_of_a_halted_scope_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the check of the kill switch."""
    monkeypatch.setattr(gate, "CHECKS", without("check_trading_state"))

    assert find_planned(["halted"], commanded(ControlAction.HALT))


def test_waiting_order_that_a_halt_does_not_stop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: what waits behind a slow venue is looked at again before it is sent."""
    monkeypatch.setattr(ExchangeDialogue, "_is_unwanted", lambda _dialogue, _order: False)
    slow = FaultsConfig(fault=[VenueFault(name="slow", probability=1.0, ms=80)])

    assert find_planned(["halted"], commanded(ControlAction.HALT, venue_faults=slow))


def test_order_that_a_halt_leaves_working_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: a halt takes back what works, again and again until nothing does."""
    monkeypatch.setattr(Safety, "_enforce", lambda _safety, _now_ns: 0)

    assert find_planned(["halted"], Plan(commands=[Command(1_450, ControlAction.HALT, "all")]))


def test_halt_that_does_not_survive_a_restart_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the kill switch is in the journal."""
    replay = VirtualJournal.replay

    def forget_halts(journal: VirtualJournal, after_seq: int = 0) -> Iterator[Entry]:
        return (entry for entry in replay(journal, after_seq) if not isinstance(entry, TradingStateMoved))

    monkeypatch.setattr(VirtualJournal, "replay", forget_halts)
    monkeypatch.setattr(VirtualJournal, "snapshots", lambda _journal: iter(()))

    assert find_planned(["halted"], commanded(ControlAction.HALT, Fault(FaultKind.KILL, 700, "executor")))


def test_growth_while_reducing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: only what makes a position smaller passes."""
    monkeypatch.setattr(risk.Case, "is_reducing", property(lambda _case: True))

    assert find_planned(["reducing"], commanded(ControlAction.REDUCE))


def test_cancel_that_the_kill_switch_stops_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: cancels pass no check."""
    apply_cancel = Executor._apply_cancel

    def check_first(executor: Executor, request: CancelRequested, now_ns: int) -> None:
        if executor.book.kill_switch.state(request.strategy, request.exchange, request.symbol) is TradingState.ACTIVE:
            apply_cancel(executor, request, now_ns)
        else:
            refusal = risk.Refusal(risk.Reason.TRADING_REDUCING, "")
            executor._deny_request(request, request.request_id, refusal, now_ns)

    monkeypatch.setattr(Executor, "_apply_cancel", check_first)

    assert find_planned(["cancels pass"], commanded(ControlAction.REDUCE))


def test_orders_under_way_that_no_limit_counts_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: what may still be filled counts as if it were."""
    monkeypatch.setattr(Order, "exposed_quantity", ZERO)

    assert find_planned(["limits"], Plan(limits=LIMITS))


def test_other_terms_that_no_limit_sees_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: an amendment passes the same checks as an order."""

    def look_at_the_order_alone(
        _executor: Executor, _request: Any, order: Order | None, _now_ns: int
    ) -> risk.Refusal | None:
        is_amendable = order is not None and order.status in AMENDABLE_STATUSES and order.limit_price is not None
        return None if is_amendable else risk.Refusal(risk.Reason.NOT_AMENDABLE, "")

    monkeypatch.setattr(Executor, "_find_amend_refusal", look_at_the_order_alone)

    assert find_planned(["limits"], Plan(limits=LIMITS))


def test_other_terms_that_are_not_booked_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: what the exchange has agreed to holds here too."""
    after_replacement = Order.after_replacement
    monkeypatch.setattr(
        Order, "after_replacement", lambda order, _quantity, price: after_replacement(order, order.quantity, price)
    )

    assert find_planned(["agreement", "live"], Plan())


def test_correction_that_is_not_booked_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: a trade that the exchange takes back, or prices anew, is undone to the last digit."""
    monkeypatch.setattr(Book, "_on_correction", lambda _book, _order, _entry: [])
    corrected = FaultsConfig(fault=[VenueFault(name="execution_corrected", probability=0.5)])

    assert find_planned(["agreement"], Plan(venue_faults=corrected))


def test_order_of_a_forgotten_life_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the exchange refuses an older life than the newest one, which here has heard of a halt."""
    monkeypatch.setattr(Sources, "admit", lambda *_: True)
    monkeypatch.setattr(Sources, "exceeds", lambda *_: False)  # the second net
    take_over = Fault(FaultKind.TAKE_OVER, 450, "executor", 300)
    # Without fencing nobody records lives; the old one wakes all the same.
    monkeypatch.setattr(World, "_has_heard_after", lambda *_: True)

    assert find_planned(["write-ahead"], commanded(ControlAction.HALT, take_over))


def test_lost_event_that_nobody_asks_about_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: a strategy that has missed an event asks where it stands."""
    ask_for_state = StrategyNode._ask_for_state

    def ask_once(node: StrategyNode, now_ns: int) -> None:
        if not node.engine.is_state_known:
            ask_for_state(node, now_ns)

    monkeypatch.setattr(StrategyNode, "_ask_for_state", ask_once)

    assert find_planned(["live"], Plan(faults=[Fault(FaultKind.LOSE, 200, "events", 1_200)]))


# A venue that cannot tell what became of an order, or contradicts itself.

FORGETFUL = FaultsConfig(
    client_id_memory="none",
    fault=[VenueFault(name="answer_lost", probability=0.3), VenueFault(name="reject", probability=0.3)],
)


def test_venue_that_forgets_leaves_orders_in_doubt() -> None:
    """Otherwise the promises for what is in doubt would be about nothing."""
    plan = Plan(venue_faults=FORGETFUL)
    world = World(SCENARIOS["calm"], 1, plan)

    world.run()

    assert world.facts.violations == []
    assert "ORDER_UNRESOLVED" in {code for code, _ in world.facts.alarms}


def test_order_sent_again_to_a_venue_that_forgets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: only *not found* is a promise that an order never came."""
    monkeypatch.setattr(ExchangeDialogue, "_on_undecided", ExchangeDialogue._on_not_found)
    monkeypatch.setattr(Sources, "exceeds", lambda _sources, _request: False)  # the second net

    assert find_planned(["no duplicate"], Plan(venue_faults=FORGETFUL))


def test_doubt_that_halts_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the halt of its symbol is in the transaction that gives an order up."""
    monkeypatch.setattr(KillSwitch, "tighten", lambda *_, **__: [])

    assert find_planned(["in doubt"], Plan(venue_faults=FORGETFUL))


def test_doubt_that_nobody_is_told_of_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: the alarm."""
    monkeypatch.setattr(ExecutorFacts, "alarm", lambda *_: None)

    assert find_planned(["in doubt"], Plan(venue_faults=FORGETFUL))


def test_order_given_up_too_early_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Safeguard: an exchange that knows every id is asked until it tells."""
    monkeypatch.setattr(ExchangeDialogue, "_on_not_found", _give_up)
    lost = FaultsConfig(fault=[VenueFault(name="throttle", probability=0.5)])

    assert find_planned(["in doubt"], Plan(venue_faults=lost))


def _give_up(dialogue: ExchangeDialogue, order: Order, now_ns: int) -> None:
    if order.is_unanswered:
        dialogue._booking.give_up(order, now_ns)
