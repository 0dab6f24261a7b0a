"""What the files say after an orderly end: journal, outboxes, and the venue's ledger as the witness."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from common.ids import parse_signal_id
from common.money import EXACT, ZERO
from common.run_directory import RunDirectory
from exchange.ledger_reading import read_ledger
from exchange.ledger_schema import LEDGER_NAME
from executor.orders_command import describe, fold
from executor.reconciliation import ADOPTER
from executor.service import JOURNAL_NAME

View = dict[str, Any]
NEVER_LIVED = frozenset({"denied", "rejected"})


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. Each text names what was expected and what was there."""

    signals: int
    orders: int
    fills: int
    lost: list[str]
    duplicated: list[str]
    unresolved: list[str]
    differing: list[str]

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not (self.lost or self.duplicated or self.unresolved or self.differing)


def audit(run_directory: RunDirectory, strategies: Iterable[str], *, is_journal_cut: bool = False) -> Audit:
    """Compare all books of a pipeline that has ended.

    `is_journal_cut`: the journal was lost or is from a backup, so what it forgot is a hole in it or was adopted.
    """
    book, last_seq = fold(run_directory.file("state", JOURNAL_NAME))
    journal = describe(book, last_seq)
    ledger = read_ledger(run_directory.file("state", LEDGER_NAME))
    return Audit(
        signals=len(journal["signals"]),
        orders=len(ledger["orders"]),
        fills=ledger["summary"]["executions"],
        lost=[*([] if is_journal_cut else _holes(journal)), *_unsent(run_directory, strategies)],
        duplicated=[*_second_orders(ledger), *([] if is_journal_cut else _unintended(journal, ledger))],
        unresolved=_unresolved(journal),
        differing=[*_differing_orders(journal, ledger), *_differing_positions(journal, ledger)],
    )


def _holes(journal: View) -> list[str]:
    """Every id ends in its number within the life of its strategy, so what is missing shows as a hole."""
    numbers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for record in (*journal["signals"], *journal["requests"]):
        place = parse_signal_id(record["signal_id"], record["strategy"])
        if place is not None:
            numbers[record["strategy"], place.epoch].add(place.number)
    return [
        f"{strategy}: expected instruction {number} of life {epoch} in the journal, was none"
        for (strategy, epoch), found in numbers.items()
        for number in sorted(set(range(1, max(found) + 1)) - found)
    ]


def _unsent(run_directory: RunDirectory, strategies: Iterable[str]) -> list[str]:
    """What an outbox still holds after everything healed was never acknowledged."""
    found = []
    for name in strategies:
        path = run_directory.file("state", f"{name}.outbox.sqlite")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            found += [
                f"{row[0]}: expected an acknowledgement" for row in connection.execute("SELECT id FROM instructions")
            ]
        finally:
            connection.close()
    return found


def _second_orders(ledger: View) -> list[str]:
    return [
        f"{name}: expected 0, was {ledger['summary'][name]}"
        for name in ("duplicate_orders", "overfilled_orders")
        if ledger["summary"][name]
    ]


def _unintended(journal: View, ledger: View) -> list[str]:
    intended = {order["client_order_id"] for order in journal["orders"]}
    messages = [
        f"{order['client_order_id']}: expected an order that the journal intended"
        for order in ledger["orders"]
        if order["client_order_id"] not in intended
    ]
    if journal["summary"]["orders_adopted"]:
        messages.append(f"orders_adopted: expected 0, was {journal['summary']['orders_adopted']}")
    return messages


def _unresolved(journal: View) -> list[str]:
    messages = [
        f"{record['signal_id']}: expected an outcome"
        for record in (*journal["signals"], *journal["requests"])
        if record["outcome"] is None
    ]
    open_statuses = ("pending_new", "unknown", "pending_cancel", "pending_replace")
    return messages + [
        f"{order['client_order_id']}: expected to be settled, is {order['status']}"
        for order in journal["orders"]
        if order["status"] in open_statuses
    ]


def _differing_orders(journal: View, ledger: View) -> list[str]:
    # An amended order has another quantity now than it came with.
    placed = {
        order["client_order_id"]: {**order, "quantity": order["working_quantity"] or order["quantity"]}
        for order in ledger["orders"]
    }
    messages = []
    for order in journal["orders"]:
        theirs = placed.get(order["client_order_id"])
        if order["status"] in NEVER_LIVED and (theirs is None or theirs["status"] in NEVER_LIVED):
            continue
        # The last report of an order does not tell what quantity it had, so one that was adopted by it does not know.
        fields = ("status", "side", "filled_quantity", *(() if order["strategy"] == ADOPTER else ("quantity",)))
        if theirs is None or any(order[field] != theirs[field] for field in fields):
            there = "nothing" if theirs is None else [theirs[field] for field in fields]
            messages.append(f"{order['client_order_id']}: journal {[order[field] for field in fields]}, ledger {there}")
    return messages


def _differing_positions(journal: View, ledger: View) -> list[str]:
    ours: dict[str, Decimal] = defaultdict(lambda: ZERO)
    theirs: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for position in journal["positions"]:
        ours[position["symbol"]] = EXACT.add(ours[position["symbol"]], Decimal(position["quantity"]))
    for execution in ledger["executions"]:
        if execution["execution_type"] == "trade":
            quantity = Decimal(execution["quantity"])
            signed = quantity if execution["side"] == "buy" else quantity.copy_negate()
            theirs[execution["symbol"]] = EXACT.add(theirs[execution["symbol"]], signed)
    return [
        f"position {symbol}: journal {ours[symbol]}, ledger {theirs[symbol]}"
        for symbol in sorted(ours.keys() | theirs.keys())
        if ours[symbol] != theirs[symbol]
    ]
