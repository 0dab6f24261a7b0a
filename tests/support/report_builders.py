"""What a monitor reads: reports of processes, the executor's journal and the exchange's ledger, as plain values."""

import os
from pathlib import Path
from typing import Any

import msgspec

from common.clock import NS_PER_S
from common.events.system import ProcessReported, ProcessState
from common.metrics import Latency
from monitor.tally import Tally

NOW_NS = 1_700_000_000_000_000_000
EPOCH = 1_700_000_000_000
LIFE = f"momentum-{EPOCH}"
RUN_NS = 20 * NS_PER_S
# One above the highest pid that Linux can give: never anybody's.
DEAD_PID = 1 << 22


def make_report(source: str = "gateway", **changes: Any) -> ProcessReported:
    """A process that is ready; its role is its name, or `strategy` for every other name."""
    fields: dict[str, Any] = {
        "epoch": EPOCH,
        "seq": 1,
        "timestamp_ns": NOW_NS,
        "role": source if source in ("gateway", "executor", "exchange") else "strategy",
        "pid": os.getpid(),
        "state": ProcessState.READY,
        "detail": "",
        "started_ns": NOW_NS - 10 * NS_PER_S,
        "turns": 1_000,
        "counters": {},
    }
    return ProcessReported(source=source, **{**fields, **changes})


def make_latencies(*durations_ns: int) -> dict[str, bytes]:
    """What an executor reports when it has measured these."""
    latency = Latency()
    for duration_ns in durations_ns:
        latency.record(duration_ns)
    return {"tick_to_ack": latency.encode()}


def make_tally(*reports: ProcessReported) -> Tally:
    """A tally of these reports."""
    tally = Tally()
    for report in reports:
        tally.take(report)
    return tally


def write_status(run_directory: Path, *reports: ProcessReported) -> None:
    """Keep reports where processes keep them."""
    folder = run_directory / "status"
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        (folder / f"{report.source}.json").write_bytes(msgspec.json.encode(report))


def make_signal_row(
    number: int, outcome: str | None = "accepted", *, life: str = f"momentum-{EPOCH}"
) -> dict[str, Any]:
    """A signal in the journal: that of a strategy's life with this number."""
    return {"signal_id": f"{life}-{number}", "outcome": outcome}


def make_order_row(client_order_id: str = "tp-1") -> dict[str, Any]:
    """An order, in the journal or in the ledger."""
    return {"client_order_id": client_order_id}


def make_position_row(quantity: str = "0.5", **changes: Any) -> dict[str, Any]:
    """A position in the journal."""
    fields = {
        "strategy": "momentum",
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "quantity": quantity,
        "entry_price": "60000.5",
        "realised_pnl": "0",
        "fees": "0.25",
    }
    return {**fields, **changes}


def make_execution_row(quantity: str = "0.5", side: str = "buy", **changes: Any) -> dict[str, Any]:
    """A fill in the ledger."""
    fields = {
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "execution_type": "trade",
        "side": side,
        "quantity": quantity,
    }
    return {**fields, **changes}


def make_journal(**changes: Any) -> dict[str, Any]:
    """The executor's view, as of `tickpulse orders --json`: nothing happened unless told."""
    return {"signals": [], "requests": [], "orders": [], "positions": [], "summary": {"signals_denied": 0}, **changes}


def make_ledger(**changes: Any) -> dict[str, Any]:
    """The exchange's view, as of `tickpulse ledger --json`: nothing happened unless told."""
    summary = {"accepted": 0, "rejected": 0, "duplicate_orders": 0, **changes.pop("summary", {})}
    return {"orders": [], "executions": [], "summary": summary, **changes}
