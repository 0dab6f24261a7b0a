"""The audit: who did what, when, caused by what; and the causal chain of any order, from tick to fill.

Built from the executor's history, so it lacks nothing that the executor has done, also while nobody was watching.
"""

import json
import sqlite3
from typing import Any

from common.history import Recorded
from workers.sqlite_model import SqliteModel

SCHEMA = """
CREATE TABLE records (
    seq INTEGER PRIMARY KEY, timestamp_ns INTEGER, actor TEXT, action TEXT, subject TEXT, signal_id TEXT,
    client_order_id TEXT, cause_id TEXT, correlation_id TEXT, body TEXT
);
CREATE INDEX records_order ON records (client_order_id);
CREATE INDEX records_signal ON records (signal_id);
CREATE TABLE names (name TEXT PRIMARY KEY, client_order_id TEXT) WITHOUT ROWID;
"""
EXCHANGE, EXECUTOR = "exchange", "executor"
# Whose act a fact of the executor's journal is; `None`: it names its actor itself.
ACTOR_OF: dict[str, str | None] = {
    "intent": EXECUTOR,
    "denied": EXECUTOR,
    "conflict": EXECUTOR,
    "answer": EXCHANGE,
    "unanswered": EXECUTOR,
    "abandoned": EXECUTOR,
    "cancel": None,
    "cancel_refused": EXCHANGE,
    "amend": None,
    "amend_refused": EXCHANGE,
    "adopted": EXCHANGE,
    "vanished": EXCHANGE,
    "reopened": EXCHANGE,
    "execution": EXCHANGE,
    "trading_state": None,
}


class Audit(SqliteModel):
    """Writes one record a fact."""

    worker_name = "audit"
    schema = SCHEMA
    schema_version = 2

    def apply_fact(self, connection: sqlite3.Connection, fact: Recorded) -> None:
        _record(connection, fact)


def _record(connection: sqlite3.Connection, fact: Recorded) -> None:
    body = fact.body
    signal, request, report = body.get("signal") or {}, body.get("request") or {}, body.get("report") or {}
    order_id = body.get("client_order_id") or report.get("client_order_id")
    signal_id = body.get("signal_id") or signal.get("signal_id") or request.get("signal_id")
    if signal_id is None and order_id is not None:
        signal_id = _signal_of(connection, order_id)
    connection.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            fact.seq,
            fact.timestamp_ns,
            _actor(fact.kind, body, request),
            _action(fact.kind, body, report),
            str(body.get("scope") or order_id or signal_id or ""),
            signal_id,
            order_id,
            signal.get("cause_id"),
            signal.get("correlation_id"),
            json.dumps(body, separators=(",", ":"), default=str),
        ],
    )
    if order_id is not None:
        for name in (body.get("venue_order_id"), report.get("venue_order_id")):
            if name is not None:
                connection.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", [name, order_id])


def _signal_of(connection: sqlite3.Connection, order_id: str) -> str | None:
    row = connection.execute(
        "SELECT signal_id FROM records WHERE client_order_id = ? AND signal_id IS NOT NULL LIMIT 1", [order_id]
    ).fetchone()
    return None if row is None else str(row[0])


def _actor(kind: str, body: dict[str, Any], request: dict[str, Any]) -> str:
    actor = ACTOR_OF.get(kind, EXECUTOR)
    if actor is not None:
        return actor
    if kind == "trading_state":
        return str(body.get("by", ""))
    return f"strategy:{request['strategy']}" if "strategy" in request else EXECUTOR


def _action(kind: str, body: dict[str, Any], report: dict[str, Any]) -> str:
    if kind == "execution":
        return str(report.get("execution_type", kind))
    if kind == "answer":
        return f"answered {body.get('outcome', '')}"
    if kind == "trading_state":
        return f"trading {body.get('state', '')}"
    return kind
