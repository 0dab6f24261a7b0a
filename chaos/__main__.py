"""`tickpulse chaos`, also `python -m chaos`."""

import os
import signal
import sys

import click
import msgspec

from chaos.drills.report import DrillReport, format_drill_report, make_drill_report
from chaos.drills.run import Injected, run_rounds
from chaos.drills.scenarios import DRILLS
from chaos.faults import SCENARIOS
from chaos.histories import HistoryResult
from chaos.report import ChaosReport, format_history, format_report, make_report
from chaos.workers import run_histories
from common.command import Command
from common.errors import ExitCode


@click.command(cls=Command)
@click.option("--simulated", is_flag=True, help="All processes in one thread, on a virtual clock, network and disk.")
@click.option("--processes", is_flag=True, help="Real processes, killed and worse.")
@click.option("--seeds", type=click.IntRange(min=1), default=100, show_default=True, help="How many histories.")
@click.option("--faults", type=click.IntRange(min=1), default=40, show_default=True, help="How many real faults.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@click.option("--scenario", help=f"Only this trouble: {', '.join(SCENARIOS)}; of processes: {', '.join(DRILLS)}.")
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Worker processes.  [default: one a core]"
)
@click.option("--json", "is_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--verbose", is_flag=True, help="Print a line for each history or fault, and all that was wrong with it.")
def chaos(
    *,
    simulated: bool,
    processes: bool,
    seeds: int,
    faults: int,
    first: int,
    scenario: str | None,
    jobs: int,
    is_json: bool,
    verbose: bool,
) -> None:
    """Inject faults by the thousand, and check that nothing is lost, duplicated or left undecided.

    Simulated: one seed decides everything, market, faults, delays. A failed history is repeated by the command printed
    with it. Processes: killed at crash points and anywhere, stopped, cut off; power lost, disks that fail, files from a
    backup or gone; and `demo`, the pipeline of supervisord.conf in this folder, whose processes are killed in turn. The
    venue's own ledger is the witness. By name only: `recorder`, which is killed under load, and its log audited. 200
    faults take about five minutes. Without a C compiler some are skipped.

    \b
    tickpulse chaos --simulated --seeds 1000
    tickpulse chaos --simulated --scenario crash_points --seeds 50
    tickpulse chaos --processes --faults 200
    tickpulse chaos --processes --scenario demo --faults 50

    Exit 0 when every promise held, 3 when one did not.
    """
    if simulated == processes:
        raise click.UsageError("say which layer: --simulated or --processes")
    known = SCENARIOS if simulated else DRILLS
    if scenario is not None and scenario not in known:
        raise click.UsageError(f"--scenario: expected one of {', '.join(known)}, was {scenario}")
    is_verbose = verbose and not is_json
    report: ChaosReport | DrillReport
    if simulated:
        report = _simulate(range(first, first + seeds), scenario, jobs, is_verbose=is_verbose)
        text = format_report(report)
    else:
        report = _drill(faults, scenario, first, is_verbose=is_verbose)
        text = format_drill_report(report)
    click.echo(msgspec.json.encode(report) if is_json else text)
    sys.exit(ExitCode.OK if report.is_sound else ExitCode.CHECKS_FAILED)


def _simulate(seeds: range, scenario: str | None, jobs: int, *, is_verbose: bool) -> ChaosReport:
    results: list[HistoryResult] = []
    for result in run_histories(seeds, scenario, jobs):
        results.append(result)
        _tell(format_history(result) if is_verbose else None, len(results), len(seeds), "histories")
    return make_report(results)


def _drill(faults: int, scenario: str | None, seed: int, *, is_verbose: bool) -> DrillReport:
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: no process of the drill stays behind
        signal.signal(number, signal.default_int_handler)
    done = 0

    def tell(fault: Injected) -> None:
        nonlocal done
        done += 1
        recovery = "not recovered" if fault.recovery_ms is None else f"recovered in {fault.recovery_ms:,.0f} ms"
        _tell(f"{fault.scenario}: {fault.what}: {recovery}" if is_verbose else None, done, faults, "faults")

    return make_drill_report(list(run_rounds(faults, scenario, seed, tell)))


def _tell(line: str | None, done: int, total: int, what: str) -> None:
    if line is not None:
        click.echo(line)
    elif sys.stderr.isatty():
        click.echo(f"\r{done}/{total} {what}", err=True, nl=done == total)


if __name__ == "__main__":
    chaos()
