"""What times in the journal and the ledger say about pace, latency and a halt."""

import pytest
from support.benchmark_builders import make_halt

from benchmarks.order_times import (
    OrderLife,
    SignalTimes,
    Window,
    find_latencies,
    find_outcome,
    find_pace,
)
from common.clock import NS_PER_MS, NS_PER_S

START_NS = 1_700_000_000 * NS_PER_S


def make_signal_times(due_ms: int, accepted_ms: int | None, *, emitted_ms: int | None = None) -> SignalTimes:
    """A signal, in ms after the start of the window; emitted when it was due unless stated."""
    return SignalTimes(
        due_ns=START_NS + due_ms * NS_PER_MS,
        emitted_ns=START_NS + (due_ms if emitted_ms is None else emitted_ms) * NS_PER_MS,
        accepted_ns=None if accepted_ms is None else START_NS + accepted_ms * NS_PER_MS,
    )


def make_window(length_ms: int) -> Window:
    """A window that begins at the start."""
    return Window(start_ns=START_NS, end_ns=START_NS + length_ms * NS_PER_MS)


def make_order(placed_ms: int, ended_ms: int | None = None) -> OrderLife:
    """An order at the exchange, in ms after the start."""
    return OrderLife(
        placed_ns=START_NS + placed_ms * NS_PER_MS,
        ended_ns=None if ended_ms is None else START_NS + ended_ms * NS_PER_MS,
    )


def test_pace_is_that_of_the_window_and_of_its_worst_second() -> None:
    """What was accepted in the warm-up or after the end does not count, nor does the incomplete last second."""
    accepted_ms = [-1, 0, 500, 999, 1_000, 2_400, 2_500]

    pace = find_pace([make_signal_times(-5, each) for each in accepted_ms], make_window(2_500))

    assert (pace.per_s, pace.per_s_min) == (2.0, 1)


def test_second_without_any_order_is_the_worst() -> None:
    """A stall shows, though nothing was counted in it."""
    pace = find_pace([make_signal_times(0, 100), make_signal_times(0, 2_100)], make_window(3_000))

    assert pace.per_s_min == 0


def test_window_below_a_second_has_no_worst_one() -> None:
    """Its pace is known all the same."""
    pace = find_pace([make_signal_times(0, 100)], make_window(500))

    assert (pace.per_s, pace.per_s_min) == (2.0, None)


@pytest.mark.parametrize(
    ("due_ms", "accepted_ms", "backlog"),
    [(10, 20, 0), (10, 1_000, 1), (10, None, 1), (-10, 1_500, 1), (1_000, None, 0)],
)
def test_backlog_is_what_was_due_and_has_no_order_at_the_end(
    due_ms: int, accepted_ms: int | None, backlog: int
) -> None:
    """Also what was due in the warm-up; not what is due after the end."""
    assert find_pace([make_signal_times(due_ms, accepted_ms)], make_window(1_000)).backlog == backlog


def test_latency_counts_from_when_a_signal_was_due_and_from_when_it_was_emitted() -> None:
    """For signals that were due in the window and have an order, however late."""
    signals = [
        make_signal_times(-1, 50),
        make_signal_times(10, 1_300, emitted_ms=800),
        make_signal_times(20, None),
        make_signal_times(1_000, 1_001),
    ]

    from_due, from_emitted = find_latencies(signals, make_window(1_000))

    assert (from_due.count, from_emitted.count) == (1, 1)
    assert from_due.summary_us()["max"] == pytest.approx(1_290_000, rel=0.001)
    assert from_emitted.summary_us()["max"] == pytest.approx(500_000, rel=0.001)


def test_halt_is_quiet_when_the_last_order_and_the_last_cancel_are_there() -> None:
    """One order was under way when the command came; two worked and were taken back."""
    halt = make_halt(START_NS, sent_ms=100, halted_ms=103, answered_ms=104, resumed_ms=500)
    orders = [make_order(0, 108), make_order(50, 110), make_order(60, 61), make_order(105, 106), make_order(501)]

    outcome = find_outcome(halt, orders)

    assert outcome.to_executor_ns == 3 * NS_PER_MS
    assert outcome.to_answer_ns == 4 * NS_PER_MS
    assert outcome.to_last_order_ns == 5 * NS_PER_MS
    assert outcome.to_last_cancel_ns == outcome.to_quiet_ns == 10 * NS_PER_MS
    assert (outcome.working_count, outcome.left_count, outcome.late_count) == (2, 0, 0)


def test_order_that_a_halt_left_working_or_let_through_is_counted() -> None:
    """The one never ended; the other came when everything else had been taken back."""
    halt = make_halt(START_NS, sent_ms=100, halted_ms=101, answered_ms=102, resumed_ms=500)

    outcome = find_outcome(halt, [make_order(0), make_order(10, 110), make_order(200, 201)])

    assert (outcome.left_count, outcome.late_count) == (1, 1)
    assert outcome.to_quiet_ns == 100 * NS_PER_MS


def test_halt_with_nothing_under_way_is_quiet_at_once() -> None:
    """No order came after the command, and none worked."""
    halt = make_halt(START_NS, sent_ms=100, halted_ms=101, answered_ms=102, resumed_ms=500)

    outcome = find_outcome(halt, [make_order(10, 20)])

    assert (outcome.to_last_order_ns, outcome.working_count) == (0, 0)
