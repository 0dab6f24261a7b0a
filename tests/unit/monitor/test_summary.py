"""Three witnesses of a run: what is said to be lost, made twice or to disagree, and when a run is clean."""

from typing import Any

import pytest
from support.report_builders import (
    EPOCH,
    NOW_NS,
    RUN_NS,
    make_execution_row,
    make_journal,
    make_latencies,
    make_ledger,
    make_order_row,
    make_position_row,
    make_report,
    make_signal_row,
    make_tally,
)

from common.events.system import ProcessReported
from monitor.summary import find_faults, summarise


def make_strategy(
    emitted: int, name: str = "momentum", *, received: int = 100, dropped: int = 0, **changes: Any
) -> ProcessReported:
    """A strategy that has emitted so many signals."""
    counters = {"signals_emitted": emitted, "signals_acknowledged": emitted, "ticks_received": received}
    return make_report(name, **{"counters": {**counters, "ticks_dropped": dropped}, **changes})


def sum_up(
    *reports: ProcessReported, journal: dict[str, Any] | None = None, ledger: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The summary of a run of 20 s."""
    return summarise(make_tally(*reports), journal or make_journal(), ledger or make_ledger(), RUN_NS)


# A clean run


def test_clean_run_is_summed_up_from_all_witnesses() -> None:
    """Each count comes from who is its owner."""
    summary = sum_up(
        make_report("gateway", counters={"ticks_published": 100, "feed_updates": 100, "updates_refused": 0}),
        make_strategy(2),
        make_strategy(1, "other"),
        make_report("executor", latencies=make_latencies(2_000_000)),
        journal=make_journal(
            signals=[make_signal_row(1), make_signal_row(2, "denied"), make_signal_row(1, life=f"other-{EPOCH}")],
            orders=[make_order_row("tp-1"), make_order_row("tp-2")],
            positions=[make_position_row("0.50")],
            summary={"signals_denied": 1},
        ),
        ledger=make_ledger(
            orders=[make_order_row("tp-1"), make_order_row("tp-2")],
            executions=[make_execution_row("0.75"), make_execution_row("0.25", "sell")],
            summary={"accepted": 1, "rejected": 1},
        ),
    )

    assert not find_faults(summary)
    assert summary["duration_s"] == 20.0
    assert (summary["ticks_published"], summary["ticks_received"], summary["ticks_dropped"]) == (100, 100, 0)
    assert (summary["signals_emitted"], summary["signals_acknowledged"], summary["signals_denied"]) == (3, 3, 1)
    assert (summary["orders_accepted"], summary["orders_rejected"], summary["fills"]) == (1, 1, 2)
    assert (summary["lost_signals"], summary["duplicate_orders"], summary["positions_agree"]) == (0, 0, True)
    assert summary["positions"] == [make_position_row("0.50")]
    assert summary["tick_to_ack_us"]["p50"] == pytest.approx(2_000, rel=0.01)
    assert summary["feed"] == {"feed_updates": 100, "updates_refused": 0}


def test_run_without_a_signal_is_not_clean() -> None:
    """Nothing was lost because nothing was tried: that proves nothing."""
    summary = sum_up(make_report("gateway"), make_strategy(0))

    assert (summary["lost_signals"], summary["duplicate_orders"], summary["positions_agree"]) == (0, 0, True)
    assert find_faults(summary)


def test_run_in_which_nobody_reported_is_summed_up_all_the_same() -> None:
    """It failed before it began; the summary says so instead of failing too."""
    summary = sum_up()

    assert (summary["ticks_published"], summary["ticks_received"], summary["signals_emitted"]) == (0, 0, 0)
    assert (summary["strategies"], summary["restarts"]) == ([], {})
    assert find_faults(summary)


# Ticks


def test_worst_strategy_tells_whether_all_ticks_arrived() -> None:
    """Each receives all: a sum would hide that one of them missed some."""
    summary = sum_up(make_strategy(1, received=100), make_strategy(1, "other", received=90, dropped=10))

    assert (summary["ticks_received"], summary["ticks_dropped"]) == (90, 10)
    assert [(strategy["name"], strategy["ticks_dropped"]) for strategy in summary["strategies"]] == [
        ("momentum", 0),
        ("other", 10),
    ]


def test_ticks_and_signals_of_a_restarted_strategy_are_added_over_its_lives() -> None:
    """It counts as one."""
    summary = sum_up(
        make_strategy(2, received=60),
        make_strategy(1, received=40, epoch=EPOCH + 1),
        journal=make_journal(
            signals=[
                make_signal_row(1),
                make_signal_row(2),
                make_signal_row(1, life=f"momentum-{EPOCH + 1}"),
            ]
        ),
    )

    assert (summary["ticks_received"], summary["signals_emitted"]) == (100, 3)
    assert (summary["lost_signals"], summary["restarts"]) == (0, {"momentum": 1})
    assert not find_faults(summary)


def test_failing_and_halted_strategies_are_shown() -> None:
    """A run may be clean while one of them has not traded any more."""
    counters = {"signals_emitted": 1, "callbacks_failed": 10, "is_halted": 1, "ticks_stale": 3, "signals_resent": 2}

    summary = sum_up(make_report("momentum", counters=counters), journal=make_journal(signals=[make_signal_row(1)]))

    (strategy,) = summary["strategies"]
    assert strategy.items() >= counters.items()


# Lost signals


@pytest.mark.parametrize(
    ("emitted", "rows", "lost"),
    [
        (3, [make_signal_row(1), make_signal_row(2), make_signal_row(3)], 0),
        (3, [make_signal_row(1), make_signal_row(2)], 1),
        (1, [make_signal_row(1), make_signal_row(3)], 1),
        (0, [make_signal_row(4)], 3),
        (2, [make_signal_row(1), make_signal_row(2, None)], 1),
        (2, [], 2),
    ],
    ids=[
        "every one has an end",
        "the last one never arrived",
        "a hole, although the last report came early",
        "holes, although no report came at all",
        "one arrived and has no end",
        "none arrived",
    ],
)
def test_signal_is_lost_that_was_emitted_and_has_no_end(emitted: int, rows: list[dict[str, Any]], lost: int) -> None:
    """Found by the strategy's count and by holes in the numbers, whichever says more."""
    summary = sum_up(make_strategy(emitted), journal=make_journal(signals=rows))

    assert summary["lost_signals"] == lost
    assert not (lost and not find_faults(summary))


def test_lost_signals_are_found_in_every_life() -> None:
    """Numbers begin again with each; a signal of one life stands for none of another."""
    lives = [f"momentum-{EPOCH}", f"momentum-{EPOCH + 1}", f"other-{EPOCH}"]

    summary = sum_up(
        make_strategy(2),
        make_strategy(2, epoch=EPOCH + 1),
        make_strategy(1, "other"),
        journal=make_journal(signals=[make_signal_row(2, life=life) for life in lives[:2]]),
    )

    assert summary["lost_signals"] == 1 + 1 + 1


def test_signal_that_came_twice_stands_for_itself_only() -> None:
    """A repeat must not hide that another one is missing."""
    summary = sum_up(make_strategy(2), journal=make_journal(signals=[make_signal_row(1), make_signal_row(1)]))

    assert summary["lost_signals"] == 1


@pytest.mark.parametrize("signal_id", ["s-1", "custom", "momentum--1", "momentum-x-1", f"momentum-{EPOCH}-"])
def test_signal_of_somebody_elses_client_is_no_witness(signal_id: str) -> None:
    """Its id has no number that could be missing."""
    rows = [make_signal_row(1), {"signal_id": signal_id, "outcome": "accepted"}]

    summary = sum_up(make_strategy(1), journal=make_journal(signals=rows))

    assert summary["lost_signals"] == 0


@pytest.mark.parametrize("signal_id", ["s-1", f"momentum-{EPOCH + 1}-7"], ids=["a client's own", "an unheard-of life"])
def test_signal_that_reached_the_executor_and_has_no_end_is_lost_whoever_sent_it(signal_id: str) -> None:
    """A life may have ended before its first report; others push signals too."""
    rows = [make_signal_row(1), {"signal_id": signal_id, "outcome": None}]

    summary = sum_up(make_strategy(1), journal=make_journal(signals=rows))

    assert summary["lost_signals"] == 1
    assert find_faults(summary)


# Duplicate orders


def test_order_that_no_intent_stands_for_is_one_too_many() -> None:
    """The exchange has it and the executor does not know why."""
    summary = sum_up(
        make_strategy(1),
        journal=make_journal(signals=[make_signal_row(1)], orders=[make_order_row("tp-1")]),
        ledger=make_ledger(orders=[make_order_row("tp-1"), make_order_row("tp-9")]),
    )

    assert summary["duplicate_orders"] == 1
    assert find_faults(summary)


def test_order_that_the_ledger_counts_as_made_twice_is_one_too_many() -> None:
    """Its own count is added."""
    summary = sum_up(
        make_strategy(1),
        journal=make_journal(signals=[make_signal_row(1)]),
        ledger=make_ledger(summary={"duplicate_orders": 2}),
    )

    assert summary["duplicate_orders"] == 2
    assert find_faults(summary)


def test_intent_that_the_exchange_never_saw_is_no_duplicate() -> None:
    """It was denied on the way; nothing was made."""
    summary = sum_up(
        make_strategy(1), journal=make_journal(signals=[make_signal_row(1)], orders=[make_order_row("tp-1")])
    )

    assert summary["duplicate_orders"] == 0
    assert not find_faults(summary)


# Positions


@pytest.mark.parametrize(
    ("positions", "executions", "is_agreed"),
    [
        ([], [], True),
        ([make_position_row("0.5")], [make_execution_row("0.50000")], True),
        ([make_position_row("-0.5")], [make_execution_row("0.5", "sell")], True),
        ([make_position_row("0")], [make_execution_row("0.5"), make_execution_row("0.5", "sell")], True),
        ([make_position_row("0.5"), make_position_row("-0.2", strategy="other")], [make_execution_row("0.3")], True),
        ([make_position_row("0.5")], [], False),
        ([], [make_execution_row("0.5")], False),
        ([make_position_row("0.5")], [make_execution_row("0.5", "sell")], False),
        ([make_position_row("0.5")], [make_execution_row("0.500000000000001")], False),
        ([make_position_row("0.5", symbol="ETH/USDT")], [make_execution_row("0.5")], False),
        ([make_position_row("0.5", exchange="binance")], [make_execution_row("0.5")], False),
        ([], [make_execution_row("0.5", execution_type="cancelled")], True),
    ],
)
def test_positions_agree_when_they_are_the_sum_of_the_fills(
    positions: list[dict[str, Any]], executions: list[dict[str, Any]], is_agreed: bool
) -> None:
    """Per instrument over all strategies, to the last digit; what was cancelled moved nothing."""
    summary = sum_up(
        make_strategy(1),
        journal=make_journal(signals=[make_signal_row(1)], positions=positions),
        ledger=make_ledger(executions=executions),
    )

    assert summary["positions_agree"] is is_agreed
    assert find_faults(summary) is not is_agreed


def test_fills_are_counted_without_cancels_and_expiries() -> None:
    """The ledger lists all that happened to orders."""
    kinds = ("trade", "cancelled", "expired", "trade")

    summary = sum_up(ledger=make_ledger(executions=[make_execution_row(execution_type=kind) for kind in kinds]))

    assert summary["fills"] == 2


def test_alarms_of_all_processes_and_lives_are_counted() -> None:
    """Whoever raised them, and whether or not it still runs."""
    tally = make_tally(
        make_report("executor", counters={"alarms": 2}),
        make_report("executor", epoch=EPOCH + 1, counters={"alarms": 1}),
        make_report("exchange", counters={"alarms": 4}),
        make_report("watchdog", role="watchdog", counters={"alarms": 8}),
        make_report("momentum"),
    )

    assert summarise(tally, make_journal(), make_ledger(), RUN_NS)["alarms"] == 15


def test_restarts_are_counted_for_each_process() -> None:
    """Of every role."""
    summary = sum_up(
        make_report("executor"),
        make_report("executor", epoch=EPOCH + 1),
        make_report("executor", epoch=EPOCH + 2, timestamp_ns=NOW_NS + 9),
        make_report("gateway"),
    )

    assert summary["restarts"] == {"executor": 2, "gateway": 0}


def test_feed_counters_are_those_of_reading() -> None:
    """What a gateway counts for itself is not of the feed."""
    counters = {"lines_read": 5, "lines_malformed": 1, "clock_steps": 2, "feed_ended": 1, "updates_unlisted": 3}

    summary = sum_up(make_report("gateway", counters={**counters, "ticks_published": 5, "subscribers_joined": 2}))

    assert summary["feed"] == counters


# The event log


def make_recorder(**counts: int) -> ProcessReported:
    """What the recorder says that its log holds of a run with 100 ticks, one order and its execution."""
    counters = {
        "last_id": 130,
        "log_tick": 100,
        "log_signal_acknowledged": 1,
        "log_order_submitted": 1,
        "log_execution": 1,
    }
    return make_report("recorder", role="recorder", counters={**counters, **counts})


def sum_up_recorded(**counts: int) -> dict[str, Any]:
    """The summary of that run."""
    return sum_up(
        make_report("gateway", counters={"ticks_published": 100}),
        make_strategy(1),
        make_recorder(**counts),
        journal=make_journal(
            signals=[make_signal_row(1)], orders=[make_order_row()], positions=[make_position_row("0.50")]
        ),
        ledger=make_ledger(orders=[make_order_row()], executions=[make_execution_row("0.50")]),
    )


def test_log_that_holds_what_others_counted_is_no_fault() -> None:
    """Nor is one whose gaps say what it lacks, or one of a run without a recorder."""
    assert sum_up_recorded()["recorded"]["tick"] == 100
    assert find_faults(sum_up_recorded()) == []
    assert find_faults(sum_up_recorded(log_tick=90, log_lost_tick=10)) == []
    assert find_faults(sum_up_recorded(log_tick=90, log_gaps_without_end=1)) == []
    assert sum_up(make_strategy(1))["recorded"] is None


@pytest.mark.parametrize(
    ("counter", "fault"),
    [
        ("log_tick", "the event log has 0 of 100 tick"),
        ("log_signal_acknowledged", "the event log has 0 of 1 signal_acknowledged"),
        ("log_order_submitted", "the event log has 0 of 1 order_submitted"),
        ("log_execution", "the event log has 0 of 1 execution"),
    ],
)
def test_log_that_holds_less_than_others_counted_is_a_fault(counter: str, fault: str) -> None:
    """What the journal has must be in the log, whatever its gaps say."""
    assert find_faults(sum_up_recorded(**{counter: 0}, log_lost_executions=5)) == [fault]
