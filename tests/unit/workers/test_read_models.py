"""The read models of positions and audit: folds of the executor's history, complete, exact, once."""

import asyncio
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.executor_builders import ExecutorHarness, make_report, make_venue_order, refold
from support.worker_builders import Desk, entries_of_a_day, facts_of

from common.bus.worker import Projector
from common.errors import ConfigError, FatalError, NotReadyError
from common.events.venue import ExecutionType
from executor.entries import Entry
from workers.audit import Audit
from workers.positions import Positions
from workers.sqlite_model import SqliteModel
from workers.trace_command import find_records
from workers.tracing import chain_of


def apply(projector: Projector, entries: list[Entry], desk: Desk, *, step: int = 1_000) -> None:
    """Have a projector apply the facts of these entries behind its position, some at a time."""

    async def run() -> None:
        await projector.start(desk.context)
        facts = [fact for fact in facts_of(entries) if fact.seq > projector.position().seq]
        for start in range(0, len(facts), step):
            await projector.apply(facts[start : start + step], desk.context)
        await projector.stop()

    asyncio.run(run())


def rows(directory: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table of the positions model."""
    with Positions.reading(directory) as connection:
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608


def dump(model: type[SqliteModel], directory: Path) -> list[str]:
    """All that a model holds."""
    with model.reading(directory) as connection:
        return list(connection.iterdump())


def test_model_agrees_with_the_book(tmp_path: Path) -> None:
    """Positions, profits and orders to the last digit, after corrections, too."""
    entries = entries_of_a_day()
    book = refold(entries)
    apply(Positions(), entries, Desk(tmp_path))

    [position] = rows(tmp_path, "positions")
    [expected] = book.positions.values()
    for name in ("quantity", "entry_price", "realised_pnl", "fees"):
        assert Decimal(position[name]) == getattr(expected, name), name
    found = {
        row["client_order_id"]: (row["status"], Decimal(row["filled_quantity"])) for row in rows(tmp_path, "orders")
    }
    assert found == {
        order.client_order_id: (order.status.value, order.filled_quantity) for order in book.orders.values()
    }


def test_trades_tell_what_was_corrected_and_taken_back(tmp_path: Path) -> None:
    """A trade stays in the list: what became of it is its state."""
    apply(Positions(), entries_of_a_day(), Desk(tmp_path))

    found = [(row["execution_number"], row["state"], row["price"], row["fee"]) for row in rows(tmp_path, "trades")]

    assert found == [(1, "done", "100", "0.1"), (2, "corrected", "112", "0.3"), (4, "cancelled", "105", "0.1")]


def test_trade_of_an_order_that_was_adopted_is_there(tmp_path: Path) -> None:
    """Whoever sent the order: what was traded is ours."""
    harness = ExecutorHarness()
    harness.executor.recover(harness.now_ns)
    harness.resend()
    harness.report_account(open_orders=[make_venue_order("tp-stranger")])
    harness.fill(client_order_id="tp-stranger")
    apply(Positions(), harness.journal.entries, Desk(tmp_path))

    [trade] = rows(tmp_path, "trades")

    assert (trade["client_order_id"], trade["quantity"]) == ("tp-stranger", "0.4")


@pytest.mark.parametrize("model", [Positions, Audit])
def test_model_is_the_same_however_it_was_built(tmp_path: Path, model: type[SqliteModel]) -> None:
    """In one go, or fact by fact and over restarts."""
    entries = entries_of_a_day()
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    apply(model(), entries, Desk(whole))
    for count in (3, 4, len(entries)):
        apply(model(), entries[:count], Desk(pieces), step=1)

    assert dump(model, whole) == dump(model, pieces)


def test_transaction_that_fails_leaves_model_and_position_alone(tmp_path: Path) -> None:
    """A fact is applied whole, or not at all."""
    entries = entries_of_a_day()
    desk = Desk(tmp_path)
    apply(Positions(), entries[:3], desk)
    before = dump(Positions, tmp_path)
    facts = facts_of(entries)[3:]
    next(fact for fact in reversed(facts) if fact.kind == "execution").body["report"] = {"nonsense": True}

    async def run() -> None:
        model = Positions()
        await model.start(desk.context)
        with pytest.raises(ValueError, match="missing required field"):
            await model.apply(facts, desk.context)
        await model.stop()

    asyncio.run(run())

    assert dump(Positions, tmp_path) == before


def test_model_of_another_version_is_built_anew(tmp_path: Path) -> None:
    """It holds nothing that the history does not have."""
    apply(Positions(), entries_of_a_day(), Desk(tmp_path))
    before = dump(Positions, tmp_path)
    connection = sqlite3.connect(Positions.path(tmp_path))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="was 99; start `tickpulse workers`"), Positions.reading(tmp_path):
        pass

    apply(Positions(), entries_of_a_day(), Desk(tmp_path))

    assert dump(Positions, tmp_path) == before


def test_model_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    """A person asked too early."""
    with pytest.raises(NotReadyError, match="tickpulse workers"), Positions.reading(tmp_path):
        pass


def test_file_that_is_no_model_says_what_to_do(tmp_path: Path) -> None:
    """To whoever reads it, and to the worker."""
    path = Positions.path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"no database, for sure" * 100)

    with pytest.raises(NotReadyError, match="remove it"), Positions.reading(tmp_path):
        pass
    with pytest.raises(FatalError, match="remove it"):
        apply(Positions(), [], Desk(tmp_path))


def test_projector_that_was_not_started_says_so() -> None:
    """A mistake of its host."""
    with pytest.raises(FatalError, match="was not started"):
        Positions().position()


def test_chain_goes_from_tick_to_fill(tmp_path: Path) -> None:
    """By the order's id, the signal's and the venue's; each step at the time of whoever took it."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working(
        "s-1", trigger_timestamp_ns=1, trigger_price=99.5, cause_id="gateway:1:tick.simulated.BTC/USDT:7"
    )
    harness.fill("s-1", quantity="1", filled_quantity="1", leaves_quantity="0")
    harness.have_working("s-2")
    apply(Audit(), harness.journal.entries, Desk(tmp_path))
    order = harness.order("s-1")

    with Audit.reading(tmp_path) as connection:
        found = [find_records(connection, name) for name in ("s-1", order.client_order_id, "venue-s-1")]
        unknown = find_records(connection, "nobody")

    steps = chain_of(found[0])
    assert [step.what for step in steps] == ["tick", "signal", "intent", "answered accepted", "trade"]
    assert [step.actor for step in steps] == ["gateway", "strategy:momentum", "executor", "exchange", "exchange"]
    assert steps[0].timestamp_ns == 1
    assert steps[-1].learned_ns == harness.now_ns
    assert found[0] == found[1] == found[2]
    assert unknown == []


def test_audit_names_who_did_what(tmp_path: Path) -> None:
    """A person by name, the exchange's corrections as such, a refusal with its signal."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working("s-1")
    harness.fill("s-1")
    harness.execute(
        make_report(2, "s-1", execution_type=ExecutionType.TRADE_CANCEL, corrects=1, quantity="0.4", price=None)
    )
    harness.cancel("s-1")
    harness.signal("s-3", quantity="0.001")
    apply(Audit(), harness.journal.entries, Desk(tmp_path))

    with Audit.reading(tmp_path) as connection:
        found = [tuple(row) for row in connection.execute("SELECT actor, action, signal_id FROM records ORDER BY seq")]

    assert ("exchange", "trade_cancel", "s-1") in found
    assert ("strategy:momentum", "cancel", "s-1") in found
    assert ("executor", "denied", "s-3") in found
