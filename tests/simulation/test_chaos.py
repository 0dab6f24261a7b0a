"""Histories full of faults: every promise holds, and each safeguard that is taken away breaks one of them."""

from collections.abc import Sequence
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
from common.crash_points import CRASH_POINTS
from common.events.venue import SubmitOrder
from exchange.sources import Sources
from executor import gate, risk
from executor.circuit_breaker import CircuitBreaker
from executor.core import Executor
from executor.dialogue import ExchangeDialogue
from executor.entries import Entry, OrderIntended
from executor.holding import Instruction
from executor.records import SignalRecord

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


@pytest.mark.parametrize("seed", range(20))
def test_all_promises_hold_through_a_history_of_faults(seed: int) -> None:
    """Two histories of each scenario; `tickpulse chaos` runs thousands."""
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
    result = run_history("calm", 1, faults)

    assert result.violations == []


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_each_crash_point_is_passed_and_survived(point: str) -> None:
    """Two deaths at the same place, the second in the life after the first."""
    faults = [Fault(FaultKind.KILL_INSIDE, at_ms, point, 30) for at_ms in (300, 700)]

    result = run_history("calm", 1, faults)

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
    monkeypatch.setattr(CircuitBreaker, "on_unanswered", lambda _breaker, _now_ns: None)

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
