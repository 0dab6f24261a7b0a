"""`tickpulse challenge`: how an evaluation stands, and where its report is."""

import json
from pathlib import Path

import click

from common.command import Command, load_config, run_options
from common.errors import NotReadyError
from workers.challenge.report import summary_of
from workers.challenge.worker import FOLDER, read_progress, write_report

EPILOG = """\b
The rules are in [workers.options.challenge]; the worker `challenge` of `tickpulse workers` checks them against what the
portfolio is worth, second by second.

Exit codes: 0 ok, 3 no attempt has begun, 78 the config is wrong.
"""


@click.command(cls=Command, epilog=EPILOG)
@click.option("--attempt", "attempt_id", metavar="ID", help="Which attempt.  [default: all]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@run_options
def challenge(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    attempt_id: str | None,
    as_json: bool,
) -> None:
    """Show the attempts at a funded-trader challenge: each rule, its limit, what was there; and write their reports."""
    folder = load_config(config_path, run_dir, assignments).run_directory().file("state", FOLDER)
    found = [
        progress
        for path in sorted(folder.glob("*.json"))
        if (attempt_id is None or path.stem == attempt_id) and (progress := read_progress(path)) is not None
    ]
    if not found:
        raise NotReadyError(
            f"{folder}: expected an attempt{'' if attempt_id is None else f' {attempt_id}'}, there is none; "
            "enable the worker `challenge` in [workers]"
        )
    pages = [write_report(folder, progress) for progress in found]
    summaries = [summary_of(progress.attempt, progress.terms) for progress in found]
    if as_json:
        attempts = [{**summary, "report": str(page)} for summary, page in zip(summaries, pages, strict=True)]
        click.echo(json.dumps({"attempts": attempts}, indent=2))
        return
    for summary, page in zip(summaries, pages, strict=True):
        ended_by = f" by {summary['failed_by']}" if summary["failed_by"] else ""
        click.echo(
            f"{summary['challenge']} {summary['attempt_id']}: {summary['status']}{ended_by}, "
            f"phase {summary['phase']} of {summary['phases']}\n"
            f"  equity {summary['equity']} {summary['currency']}, profit {summary['profit']}\n"
            f"  profit of the phase {summary['phase_profit']} of {summary['profit_target']}\n"
            f"  worst daily loss {summary['worst_daily_loss']} of {summary['daily_loss_max']}\n"
            f"  worst total loss {summary['worst_total_loss']} of {summary['total_loss_max']}\n"
            f"  trading days {summary['trading_days']} of {summary['trading_days_min']}\n"
            f"  report {page}"
        )
