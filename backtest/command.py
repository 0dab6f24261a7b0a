"""The command: options into a wish, and what came of it onto the terminal and into files."""

import os
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import msgspec

from backtest.planning import Wish, make_plan, run_wish
from backtest.progress import ProgressLine
from backtest.result import Finished
from backtest.sweep import Combination, combine, parse_axis, rank, run_sweep
from backtest.tables import SWEEP_FIELDS, format_csv, format_result, format_sweep
from common.command import Command, F, load_config, run_options
from common.config import Config, parse_value
from common.errors import ConfigError, ExitCode
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN
from common.store.times import parse_time_ns
from strategy.options import read_param

output_path = click.Path(dir_okay=False, writable=True, path_type=Path)
OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--strategy", "reference", required=True, metavar="NAME", help="An installed strategy, or your module:Class."
    ),
    click.option(
        "--store", required=True, metavar="ADDRESS", help="Where the market is: jsonl:PATH, parquet:PATH, ..."
    ),
    click.option("--from", "first", metavar="TIME", help="ISO 8601, UTC; included.  [default: the store's first]"),
    click.option("--to", "last", metavar="TIME", help="ISO 8601, UTC; excluded.  [default: the store's last]"),
    click.option("--param", "params", metavar="KEY=VALUE", multiple=True, help="A parameter of the strategy."),
    click.option(
        "--latency-us",
        "latencies",
        metavar="HOP=US",
        multiple=True,
        help="Of market, signal, order, answer or event; 50..300 is drawn from the seed.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Of the latencies that are drawn."),
    click.option("--group-ms", type=click.IntRange(min=0), help="How long ticks wait for each other; 0: as recorded."),
    click.option("--equity", metavar="AMOUNT", help="What returns are shares of, quote units.  [default: 10000]"),
    click.option("--flatten", is_flag=True, help="Close what is held at the end, by market orders."),
    click.option("--sweep", "axes", metavar="KEY=A:B:STEP", multiple=True, help="Try each value; also KEY=A,B,C."),
    click.option(
        "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Of a sweep.  [default: cores]"
    ),
    click.option(
        "--rank-by", type=click.Choice(SWEEP_FIELDS), default="net_profit", show_default=True, help="Best first."
    ),
    click.option("--compare-run", metavar="DIR", type=click.Path(path_type=Path), help="Set a live run beside it."),
    click.option("--json", "is_json", is_flag=True, help="Print JSON instead of a table."),
    click.option("--csv", "csv_path", metavar="FILE", type=output_path, help="Write a sweep's table."),
    click.option(
        "--report", "report_path", metavar="FILE", type=output_path, help="Write one self-contained HTML file."
    ),
)


def backtest_options(function: F) -> F:
    """Add every option of the command."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@click.command(cls=Command)
@backtest_options
@run_options
def backtest(
    *,
    reference: str,
    store: str,
    first: str | None,
    last: str | None,
    params: tuple[str, ...],
    axes: tuple[str, ...],
    jobs: int,
    rank_by: str,
    compare_run: Path | None,
    is_json: bool,
    csv_path: Path | None,
    report_path: Path | None,
    flatten: bool,
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    **assumed: Any,
) -> None:
    """Run a strategy over a recorded market: the code that trades live, on a virtual clock, against a simulated venue.

    Instruments, risk limits, fees and the venue are those of the config; `[backtest]` has latencies and more. The same
    input gives the same result hash.

    \b
    tickpulse backtest --strategy momentum --store parquet:data --from 2026-01-01 --to 2026-02-01 --report momentum.html
    tickpulse backtest --strategy my:Cross --store sqlite:day.db --sweep fast=1:10:1 --sweep slow=20,50 --csv cross.csv
    tickpulse backtest --strategy momentum --store jsonl:run/store --compare-run run

    Exit 0 when it ran through; 1 when the strategy raised or was halted, or the range is empty; 2 for wrong options;
    78 for an unknown strategy, parameter or store; 130 when interrupted.
    """
    require_libraries()
    config = load_config(config_path, run_dir, assignments)
    assume(config, assumed)
    wish = Wish(
        config=config,
        strategy=reference,
        store=store,
        **read_range(first, last),
        parameters=dict(map(read_param, params)),
        is_flattened=flatten,
    )
    make_plan(wish)  # what is wrong with it shows before anything is opened
    if axes:
        _sweep(wish, axes, jobs, rank_by, is_json=is_json, csv_path=csv_path, report_path=report_path)
        return
    with ProgressLine() as progress:
        finished = run_wish(wish, progress)
    comparison = None
    if compare_run is not None:
        from backtest.live import compare_with_run  # noqa: PLC0415  # opens a history: only for who asks

        comparison = compare_with_run(finished, compare_run, wish)
    _tell(finished, comparison, is_json=is_json)
    if report_path is not None:
        from backtest.report import write_report  # noqa: PLC0415  # plotly takes half a second to import

        write_report(finished, report_path, comparison)
        click.echo(f"report: {report_path}", err=True)
    sys.exit(ExitCode.OK if finished.result.is_sound else ExitCode.FAULT)


def _tell(finished: Finished, comparison: Any, *, is_json: bool) -> None:
    if is_json:
        content = finished.result if comparison is None else {"backtest": finished.result, "comparison": comparison}
        click.echo(msgspec.json.encode(content))
        return
    click.echo(format_result(finished.result))
    if comparison is not None:
        from backtest.tables_comparison import format_comparison  # noqa: PLC0415

        click.echo(f"\n{format_comparison(comparison)}")


def _sweep(
    wish: Wish,
    axes: tuple[str, ...],
    jobs: int,
    rank_by: str,
    *,
    is_json: bool,
    csv_path: Path | None,
    report_path: Path | None,
) -> None:
    combinations = combine([parse_axis(axis) for axis in axes])
    # SIGTERM ends it like Ctrl-C, so that no worker is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done: list[Combination] = []
    with ProgressLine() as progress:
        for each in run_sweep(wish, combinations, jobs):
            done.append(each)
            progress.tell(f"{len(done)} of {len(combinations)} backtests")
    ranked = rank(done, rank_by)
    click.echo(msgspec.json.encode(ranked) if is_json else format_sweep(ranked))
    if csv_path is not None:
        csv_path.write_text(format_csv(ranked), encoding="utf-8")
    if report_path is not None:
        from backtest.report import write_sweep_report  # noqa: PLC0415

        write_sweep_report(ranked, rank_by, report_path)
        click.echo(f"report: {report_path}", err=True)
    failed = [each for each in done if each.error is not None]
    for each in failed:
        named = " ".join(f"{name}={value}" for name, value in each.parameters.items())
        click.echo(f"failed: {named}: {each.error}", err=True)
    sys.exit(ExitCode.FAULT if failed else ExitCode.OK)


def require_libraries() -> None:
    """Find out before minutes of running what its end would fail for.

    Raises:
        ConfigError: A library of the extra `backtest` is missing.
    """
    for name in ("empyrical", "plotly"):
        if find_spec(name) is None:
            raise ConfigError(f"backtest needs {name}; install it with `pip install tickpulse[backtest]`")


def assume(config: Config, assumed: dict[str, Any]) -> None:
    """Put options in the place of keys of `[backtest]`, where their ranges are checked.

    Raises:
        ConfigError: A latency is not HOP=US.
    """
    for option, key in (("seed", "seed"), ("group_ms", "group_ms"), ("equity", "starting_equity")):
        if assumed[option] is not None:
            config.assign(("backtest", key), assumed[option], f"--{option.replace('_', '-')}")
    for text in assumed["latencies"]:
        hop, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--latency-us: expected HOP=US, was {text!r}")
        config.assign(("backtest", "latency_us", hop), parse_value(value), f"--latency-us {hop}")


def read_range(first: str | None, last: str | None) -> dict[str, int]:
    """The range as ns UTC.

    Raises:
        UsageError: An end is no time, or lies before the beginning.
    """
    try:
        from_ns = TIME_NS_MIN if first is None else parse_time_ns(first)
        to_ns = TIME_NS_MAX if last is None else parse_time_ns(last)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if from_ns >= to_ns:
        raise click.UsageError(f"--from {first} --to {last}: expected a time before --to")
    return {"from_ns": from_ns, "to_ns": to_ns}
