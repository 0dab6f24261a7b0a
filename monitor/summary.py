"""What a run did, from the counters of its processes, the executor's journal and the exchange's ledger. Pure.

Three witnesses that know nothing of each other's memory: where they disagree, something was lost or made twice.
"""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from common.clock import NS_PER_S
from common.events.system import ProcessReported
from common.money import EXACT, ZERO, plain
from monitor.tally import Tally

View = dict[str, Any]
# By what the event log counts, what the journal and the ledger count of it.
ORDER_CRITICAL_COUNTS = {
    "signal_acknowledged": "signals_answered",
    "order_submitted": "orders_intended",
    "execution": "executions",
}
RECORDED_COUNTS = (
    "tick",
    "signal",
    *ORDER_CRITICAL_COUNTS,
    "gaps",
    "gaps_without_end",
    "gaps_recovered",
    "lost",
    "lost_tick",
    "lost_market",
    "lost_events",
    "lost_executions",
)


def summarise(tally: Tally, journal: View, ledger: View, elapsed_ns: int) -> View:
    """One object with every count of a run.

    Args:
        tally: The reports of all processes.
        journal: As of `tickpulse orders --json`.
        ledger: As of `tickpulse ledger --json`.
        elapsed_ns: How long it traded.
    """
    strategies = [_strategy(tally, name) for name in sorted({life.source for life in tally.lives("strategy")})]
    gateway = tally.counters("gateway")
    entered = journal["summary"]
    placed = ledger["summary"]
    return {
        "duration_s": round(elapsed_ns / NS_PER_S, 1),
        "ticks_published": gateway.get("ticks_published", 0),
        # Each strategy receives all ticks: the worst of them tells whether all arrived.
        "ticks_received": min((strategy["ticks_received"] for strategy in strategies), default=0),
        "ticks_dropped": max((strategy["ticks_dropped"] for strategy in strategies), default=0),
        "signals_emitted": sum(strategy["signals_emitted"] for strategy in strategies),
        "signals_acknowledged": sum(strategy["signals_acknowledged"] for strategy in strategies),
        "signals_denied": entered["signals_denied"],
        "orders_accepted": placed["accepted"],
        "orders_rejected": placed["rejected"],
        "signals_answered": sum(1 for signal in journal["signals"] if signal["outcome"] is not None),
        "orders_intended": len(journal["orders"]) - entered.get("orders_adopted", 0),
        "executions": len(ledger["executions"]),
        "fills": sum(1 for execution in ledger["executions"] if execution["execution_type"] == "trade"),
        "duplicate_orders": placed["duplicate_orders"] + _orders_beyond_one_per_signal(journal, ledger),
        "lost_signals": _lost_signals(tally, journal),
        "positions": journal["positions"],
        "positions_agree": _net_of_positions(journal) == _net_of_executions(ledger),
        "alarms": count_alarms(tally),
        "tick_to_ack_us": tally.latency("tick_to_ack").summary_us(),
        "recorded": _recorded(tally),
        "strategies": strategies,
        "feed": {
            name: count for name, count in gateway.items() if name.startswith(("lines_", "feed_", "updates_", "clock_"))
        },
        "restarts": {report.source: tally.restarts(report.source) for report in tally.newest()},
    }


def count_alarms(tally: Tally) -> int:
    """Alarms of all processes, over all their lives."""
    return sum(tally.counters(role).get("alarms", 0) for role in ("executor", "exchange", "recorder", "watchdog"))


def find_faults(summary: View) -> list[str]:
    """What went wrong of that which must not, each in a line; nothing for a clean run."""
    faults = {
        f"{summary['duplicate_orders']} orders were made twice": summary["duplicate_orders"] > 0,
        f"{summary['lost_signals']} signals have no end in the journal": summary["lost_signals"] > 0,
        "the executor's journal and the exchange's ledger disagree on positions": not summary["positions_agree"],
        "no strategy emitted a signal": summary["signals_emitted"] == 0,
        **_unrecorded(summary),
    }
    return [fault for fault, is_so in faults.items() if is_so]


def _recorded(tally: Tally) -> View | None:
    """What the whole event log holds, as the newest life of the recorder counted it; None where none ran."""
    lives = tally.lives("recorder")
    if not lives:
        return None
    counters = max(lives, key=lambda life: life.epoch).counters
    return {
        "records": counters.get("last_id", 0),
        **{name: counters.get(f"log_{name}", 0) for name in RECORDED_COUNTS},
        "backfilled": tally.counters("recorder").get("backfilled", 0),
    }


def _unrecorded(summary: View) -> dict[str, bool]:
    """Where the log holds less than was counted elsewhere, and no gap says so."""
    recorded = summary["recorded"]
    if recorded is None:
        return {}
    expected = {name: summary[counted] for name, counted in ORDER_CRITICAL_COUNTS.items()}
    if not recorded["gaps_without_end"]:
        expected["tick"] = summary["ticks_published"] - recorded["lost_tick"]
    return {
        f"the event log has {recorded[name]} of {count} {name}": recorded[name] < count
        for name, count in expected.items()
    }


def _strategy(tally: Tally, name: str) -> View:
    counters = tally.counters("strategy", name)
    shown = (
        "ticks_received",
        "ticks_dropped",
        "ticks_stale",
        "signals_emitted",
        "signals_acknowledged",
        "signals_resent",
    )
    return {"name": name, **{key: counters.get(key, 0) for key in (*shown, "callbacks_failed", "is_halted")}}


def _lost_signals(tally: Tally, journal: View) -> int:
    """Instructions that a strategy emitted, or that reached the executor, and the journal has no end for.

    An id ends in its number within the life of its strategy, so a hole shows even where the last report of a
    killed strategy came before its last signal.
    """
    lives = tally.lives("strategy")
    ended: dict[tuple[str, int], set[int]] = {(life.source, life.epoch): set() for life in lives}
    lost = 0
    for instruction in (*journal["signals"], *journal["requests"]):
        strategy, epoch, number = _parts(instruction["signal_id"])
        is_ended = instruction["outcome"] is not None
        if (strategy, epoch) not in ended:
            lost += not is_ended
        elif is_ended:
            ended[strategy, epoch].add(number)
    return lost + sum(_lost_in(life, ended[life.source, life.epoch]) for life in lives)


def _lost_in(life: ProcessReported, ended: set[int]) -> int:
    counted = sum(life.counters.get(name, 0) for name in ("signals_emitted", "cancels_emitted", "amends_emitted"))
    return max(counted, max(ended, default=0)) - len(ended)


def _parts(signal_id: str) -> tuple[str, int, int]:
    pieces = signal_id.rsplit("-", 2)
    if len(pieces) == 3 and pieces[1].isdigit() and pieces[2].isdigit():
        return pieces[0], int(pieces[1]), int(pieces[2])
    return "", 0, 0  # a client of somebody else's, with ids of its own


def _orders_beyond_one_per_signal(journal: View, ledger: View) -> int:
    """Orders at the exchange that no intent of the journal stands for: each is one too many."""
    intended = {order["client_order_id"] for order in journal["orders"]}
    return sum(1 for order in ledger["orders"] if order["client_order_id"] not in intended)


def _net_of_positions(journal: View) -> dict[tuple[str, str], str]:
    net: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for position in journal["positions"]:
        key = (position["exchange"], position["symbol"])
        net[key] = EXACT.add(net[key], Decimal(position["quantity"]))
    return _without_zeros(net)


def _net_of_executions(ledger: View) -> dict[tuple[str, str], str]:
    net: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for execution in ledger["executions"]:
        if execution["execution_type"] == "trade":
            quantity = Decimal(execution["quantity"])
            key = (execution["exchange"], execution["symbol"])
            net[key] = EXACT.add(net[key], quantity if execution["side"] == "buy" else -quantity)
    return _without_zeros(net)


def _without_zeros(net: dict[tuple[str, str], Decimal]) -> dict[tuple[str, str], str]:
    return {key: plain(quantity) for key, quantity in net.items() if quantity}
