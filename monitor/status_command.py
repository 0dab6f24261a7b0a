"""`tickpulse status` and `tickpulse wait`: is the pipeline up?"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from common.clock import NS_PER_MS, NS_PER_S, SystemClock
from common.command import Command, load_config, run_options
from common.config import Config
from common.errors import ExitCode, NotReadyError
from common.events.system import ProcessReported
from monitor.config import MonitorConfig, strategy_names
from monitor.options import Finite
from monitor.status import condition, read_reports

POLL_NS = 50 * NS_PER_MS
SHOWN_COUNTERS = {
    "gateway": ("ticks_published",),
    "strategy": ("ticks_received", "ticks_dropped", "signals_emitted"),
    "executor": ("signals_received", "orders_accepted", "fills"),
    "exchange": ("requests_submit_order", "executions_trade"),
    "workers": ("events", "dead_letters", "worker_restarts", "behind"),
    "recorder": ("last_id", "log_gaps", "log_lost", "backfilled", "buffer_bytes", "disk_refusals"),
    "watchdog": ("programs_watched", "programs_paused", "hangs", "crash_loops"),
}


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every counter.")
@run_options
def status(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, as_json: bool) -> None:
    """Show each process of a run: its state, and what it has counted; then the kill switch and alarms.

    Exit 0 when all are ready, 3 when one is not or nothing runs there.
    """
    config = load_config(config_path, run_dir, assignments)
    rows = _rows(config)
    if as_json:
        view = {"run_directory": str(config.run_directory().path), **_safety(rows), "processes": rows}
        click.echo(json.dumps(view, indent=2))
    elif rows:
        click.echo(_table(rows))
        click.echo(_safety_line(rows))
    if not rows:
        raise NotReadyError(f"nothing has run in {config.run_directory().path}; start it or name another --run-dir")
    sys.exit(ExitCode.OK if all(row["condition"] == "ready" for row in rows) else ExitCode.CHECKS_FAILED)


@click.command(cls=Command)
@click.argument("names", nargs=-1)
@click.option("--ready/--stopped", "is_ready_wanted", default=True, help="What to wait for.  [default: --ready]")
@click.option("--timeout", type=Finite(min=0), default=30.0, show_default=True, help="Seconds to wait.")
@run_options
def wait(
    names: tuple[str, ...],
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    is_ready_wanted: bool,
    timeout: float,
) -> None:
    """Wait until processes are ready, as they say themselves: sockets up, snapshot taken, journal open.

    NAMES are gateway, exchange, executor and names of strategies; without any, those and every strategy of the config.
    Exit 0 when it is so, 3 with the reason of each that is not.
    """
    config = load_config(config_path, run_dir, assignments)
    expected = names or ("exchange", "executor", "gateway", *strategy_names(config))
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + int(timeout * NS_PER_S)
    while missing := _missing(config, expected, is_ready_wanted=is_ready_wanted):
        if clock.monotonic_ns() > deadline_ns:
            wanted = "ready" if is_ready_wanted else "stopped"
            reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise NotReadyError(f"not {wanted} after {timeout:g} s: {reasons}")
        clock.sleep_ns(POLL_NS)


def _missing(config: Config, expected: tuple[str, ...], *, is_ready_wanted: bool) -> dict[str, str]:
    rows = {str(row["name"]): row for row in _rows(config)}
    missing = {}
    for name in expected:
        row = rows.get(name)
        state = "not started" if row is None else str(row["condition"])
        is_as_wanted = state == "ready" if is_ready_wanted else state in ("not started", "stopped", "failed", "dead")
        if not is_as_wanted:
            missing[name] = f"{state} ({row['detail']})" if row is not None and row["detail"] else state
    return missing


def _rows(config: Config) -> list[dict[str, Any]]:
    silence_ms_max = config.section("monitor", MonitorConfig).silence_ms_max
    now_ns = SystemClock.now_ns()
    return [_row(report, now_ns, silence_ms_max) for report in read_reports(config.run_directory())]


def _row(report: ProcessReported, now_ns: int, silence_ms_max: int) -> dict[str, Any]:
    return {
        "name": report.source,
        "role": report.role,
        "condition": condition(report, now_ns, silence_ms_max),
        "detail": report.detail,
        "pid": report.pid,
        "epoch": report.epoch,
        "up_s": round((report.timestamp_ns - report.started_ns) / NS_PER_S, 1),
        "turns": report.turns,
        "counters": report.counters,
        "endpoints": report.endpoints,
    }


def _safety(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the kill switch stands, and how many alarms the newest life of each process has raised."""
    executor: dict[str, int] = next((row["counters"] for row in rows if row["role"] == "executor"), {})
    kill_switch = "unknown"
    if "scopes_restricted" in executor:
        kill_switch = "restricted" if executor["scopes_restricted"] else "active"
        kill_switch = "halted" if executor["is_halted"] else kill_switch
    return {"kill_switch": kill_switch, "alarms": sum(row["counters"].get("alarms", 0) for row in rows)}


def _safety_line(rows: list[dict[str, Any]]) -> str:
    safety = _safety(rows)
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update({key: count for key, count in row["counters"].items() if key.startswith("alarms_")})
    codes = ", ".join(f"{count} {key.removeprefix('alarms_').upper()}" for key, count in sorted(counts.items()))
    why = "" if safety["kill_switch"] in ("active", "unknown") else "; see `tickpulse trading`"
    if any(row["counters"].get("is_halted") for row in rows if row["role"] == "exchange"):
        why += "   exchange: halted; see `tickpulse ledger`"
    return f"kill switch: {safety['kill_switch']}{why}   alarms: {safety['alarms']}" + (f" ({codes})" if codes else "")


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'PROCESS':<20} {'ROLE':<9} {'STATE':<18} {'PID':>7} {'UP':>8}  COUNTED"]
    for row in rows:
        shown = [
            f"{name}={row['counters'][name]:,}"
            for name in SHOWN_COUNTERS.get(row["role"], ())
            if name in row["counters"]
        ]
        detail = f"waits for {row['detail']}" if row["condition"] == "starting" and row["detail"] else row["detail"]
        lines.append(
            f"{row['name']:<20} {row['role']:<9} {row['condition']:<18} {row['pid']:>7} {row['up_s']:>6.0f} s  "
            + " ".join(filter(None, [*shown, detail]))
        )
    return "\n".join(lines)
