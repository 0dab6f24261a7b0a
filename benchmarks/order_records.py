"""Reads the journal and the ledger of a run that has ended: when each signal and order went where."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from benchmarks.order_times import OrderLife, SignalTimes
from common.events.risk import TradingState
from common.events.venue import AnswerOutcome
from common.run_directory import RunDirectory
from exchange.ledger_reading import read_ledger
from exchange.ledger_schema import LEDGER_NAME
from executor.entries import OrderAbandoned, OrderAnswerTaken, OrderIntended, SignalDenied, TradingStateMoved
from executor.journal import open_readonly, read_entries
from executor.service import JOURNAL_NAME


@dataclass(frozen=True)
class JournalRecords:
    """What the executor has decided and learned."""

    signals: list[SignalTimes]
    refused_count: int  # signals that ended without an order: denied, rejected, or expired before they were sent
    moves_ns: dict[TradingState, list[int]]  # when the kill switch came to a state
    intended_while_halted: int  # orders decided on between a halt and the command to go on

    @property
    def accepted_count(self) -> int:
        """Signals whose order the exchange took."""
        return sum(signal.accepted_ns is not None for signal in self.signals)


@dataclass(frozen=True)
class LedgerRecords:
    """What reached the exchange."""

    orders: list[OrderLife]
    summary: dict[str, int]


def read_journal_records(run_directory: RunDirectory) -> JournalRecords:
    """Fold the journal, in its own order."""
    connection = open_readonly(run_directory.file("state", JOURNAL_NAME))
    try:
        intents: dict[str, OrderIntended] = {}
        accepted_ns: dict[str, int] = {}
        moves_ns: dict[TradingState, list[int]] = {state: [] for state in TradingState}
        refused_count = intended_while_halted = 0
        is_halted = False
        for _, entry in read_entries(connection):
            match entry:
                case OrderIntended():
                    intents[entry.client_order_id] = entry
                    intended_while_halted += is_halted
                case OrderAnswerTaken(outcome=AnswerOutcome.ACCEPTED):
                    accepted_ns.setdefault(entry.client_order_id, entry.timestamp_ns)
                case SignalDenied() | OrderAbandoned() | OrderAnswerTaken(outcome=AnswerOutcome.REJECTED):
                    refused_count += 1
                case TradingStateMoved():
                    moves_ns[entry.state].append(entry.timestamp_ns)
                    is_halted = entry.state is TradingState.HALTED
    finally:
        connection.close()
    signals = [_times_of(intent, accepted_ns.get(order_id)) for order_id, intent in intents.items()]
    return JournalRecords(signals, refused_count, moves_ns, intended_while_halted)


def _times_of(intent: OrderIntended, accepted_ns: int | None) -> SignalTimes:
    signal = intent.signal
    due_ns = signal.timestamp_ns if signal.trigger_timestamp_ns is None else signal.trigger_timestamp_ns
    return SignalTimes(due_ns=due_ns, emitted_ns=signal.timestamp_ns, accepted_ns=accepted_ns)


def count_resting(run_directory: RunDirectory) -> int:
    """Orders that rest on the exchange's book at this moment, also while it runs."""
    path = run_directory.file("state", LEDGER_NAME)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM orders WHERE status IN ('accepted', 'partially_filled') AND time_in_force = 'gtc'"
        resting_count: int = connection.execute(query).fetchone()[0]
    return resting_count


def read_ledger_records(run_directory: RunDirectory) -> LedgerRecords:
    """Every order that the exchange accepted, with its end."""
    ledger = read_ledger(run_directory.file("state", LEDGER_NAME))
    ended_ns = {
        row["client_order_id"]: row["timestamp_ns"] for row in ledger["executions"] if row["leaves_quantity"] == "0"
    }
    orders = [
        OrderLife(placed_ns=row["answered_ns"], ended_ns=ended_ns.get(row["client_order_id"]))
        for row in ledger["orders"]
        if row["outcome"] == "accepted"
    ]
    return LedgerRecords(orders, ledger["summary"])
