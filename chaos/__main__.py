"""`tickpulse chaos`, also `python -m chaos`."""

import os
import sys

import click
import msgspec

from chaos.faults import SCENARIOS
from chaos.histories import HistoryResult
from chaos.report import format_history, format_report, make_report
from chaos.workers import run_histories
from common.command import Command
from common.errors import ExitCode


@click.command(cls=Command)
@click.option("--simulated", is_flag=True, help="All processes in one thread, on a virtual clock, network and disk.")
@click.option("--seeds", type=click.IntRange(min=1), default=100, show_default=True, help="How many histories.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--scenario", type=click.Choice(list(SCENARIOS)), help="Only this kind of trouble.  [default: all]")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Worker processes.  [default: one a core]"
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--verbose", is_flag=True, help="Print a line for each history, and all that was wrong with it.")
def chaos(
    *, simulated: bool, seeds: int, first: int, scenario: str | None, jobs: int, is_json: bool, verbose: bool
) -> None:
    """Inject faults by the thousand, and check that nothing is lost, duplicated or left undecided.

    One seed decides everything: market, faults, delays. A failed history is repeated by the command printed with it.

    \b
    tickpulse chaos --simulated --seeds 1000
    tickpulse chaos --simulated --scenario crash_points --seeds 50

    Exit 0 when every promise held in every history, 3 when one did not.
    """
    if not simulated:
        raise click.UsageError("say which layer: --simulated")
    results = []
    for result in run_histories(range(first, first + seeds), scenario, jobs):
        results.append(result)
        _tell(result, len(results), seeds, is_verbose=verbose and not is_json)
    report = make_report(results)
    click.echo(msgspec.json.encode(report) if is_json else format_report(report))
    sys.exit(ExitCode.OK if report.is_sound else ExitCode.CHECKS_FAILED)


def _tell(result: HistoryResult, done: int, total: int, *, is_verbose: bool) -> None:
    if is_verbose:
        click.echo(format_history(result))
    elif sys.stderr.isatty():
        click.echo(f"\r{done}/{total} histories", err=True, nl=done == total)


if __name__ == "__main__":
    chaos()
