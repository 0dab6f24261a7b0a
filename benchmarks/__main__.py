"""`tickpulse bench`, also `python -m benchmarks`."""

import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from benchmarks import backtest as backtest_benchmark
from benchmarks import bus as bus_benchmark
from benchmarks import halt as halt_benchmark
from benchmarks import latency as latency_benchmark
from benchmarks import orders as orders_benchmark
from benchmarks import plot
from benchmarks import recorder as recorder_benchmark
from benchmarks import rules as rules_benchmark
from benchmarks import store as store_benchmark
from benchmarks import throughput as throughput_benchmark
from benchmarks.backtest import BacktestReport
from benchmarks.bus import BusReport, format_bus
from benchmarks.halt import HaltReport
from benchmarks.latency import LatencyReport
from benchmarks.orders import OrdersReport
from benchmarks.pipeline_halt import HaltPlan
from benchmarks.plot_latency import draw_latency
from benchmarks.plot_throughput import draw_throughput
from benchmarks.recorder import RecorderReport
from benchmarks.rules import RulesReport
from benchmarks.schedule import OrderPathPlan
from benchmarks.stage import INTERRUPTED
from benchmarks.store import StoreReport
from benchmarks.tables import format_backtest, format_latency, format_rules, format_throughput
from benchmarks.tables_orders import format_halt, format_orders
from benchmarks.tables_recorder import format_recorder
from benchmarks.tables_store import format_store
from benchmarks.throughput import ThroughputReport
from common.command import Command, F
from common.errors import ExitCode

Report = (
    BacktestReport
    | BusReport
    | HaltReport
    | LatencyReport
    | OrdersReport
    | RecorderReport
    | RulesReport
    | StoreReport
    | ThroughputReport
)
output_path = click.Path(dir_okay=False, writable=True, path_type=Path)
json_option = click.option(
    "--json", "json_path", metavar="FILE", type=output_path, help="Write everything that was measured."
)

warm_up_option = click.option(
    "--warm-up", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Seconds before, not measured."
)


def output_options(function: F) -> F:
    """Add --rounds, --json and --plot."""
    for option in (
        click.option("--plot", "plot_path", metavar="FILE", type=output_path, help="Draw the result: .svg or .png."),
        json_option,
        click.option(
            "--rounds",
            type=click.IntRange(min=1),
            default=3,
            show_default=True,
            help="How often floor and pipeline are measured by turns.",
        ),
    ):
        function = option(function)
    return function


@click.group()
def bench() -> None:
    """Measure the pipeline: latency and throughput beside bare pyzmq sockets, orders and halts beside their targets.

    A speed alone says more about the machine than about the program. So `latency` and `throughput` first run the floor:
    the same processes and socket patterns with nothing in them; then the pipeline; then both again. What counts is the
    ratio.

    Every run is in a temporary directory with processes of its own, and both are gone when it ends. Leave the machine
    alone meanwhile: how many cores others used is printed, because whatever else runs is measured too.

    Exit 0 when all counts add up, however fast it was; 3 when a tick, signal or order is missing.
    """


@bench.command(cls=Command)
@click.option(
    "--rate", type=click.FloatRange(min=1), default=50_000.0, show_default=True, help="Ticks/s of one instrument."
)
@click.option(
    "--duration", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Measured seconds of each run."
)
@warm_up_option
@click.option(
    "--signal-every", type=click.IntRange(min=1), default=500, show_default=True, help="Ticks between two orders."
)
@click.option(
    "--batching/--no-batching",
    default=True,
    show_default=True,
    help="Whether the pipeline's gateway packs ticks that wait together. The floor never does.",
)
@output_options
def latency(*, json_path: Path | None, plot_path: Path | None, rounds: int, batching: bool, **options: Any) -> None:
    """Time from a tick to the exchange's answer to its order.

    The floor is four processes around bare sockets. The pipeline is the real one: risk checks, journal and ledger on,
    synchronous = "normal", a simulated venue without latency of its own.

    The load is open-loop: each tick has a time at which it is due, and latency counts from it, so a stall is charged
    to every tick that it delayed.

    \b
    tickpulse bench latency
    tickpulse bench latency --rate 100000 --rounds 5
    tickpulse bench latency --json latency.json --plot latency.svg
    """
    plan = OrderPathPlan(
        rate=options["rate"],
        duration_s=options["duration"],
        warm_up_s=options["warm_up"],
        signal_every=options["signal_every"],
    )
    _prepare(plan.measured_count, plot_path)
    report = latency_benchmark.run(plan, rounds, _tell, is_batching=batching)
    _write(report, format_latency(report), json_path)
    if plot_path is not None:
        draw_latency(report, plot_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--count",
    type=click.IntRange(min=10),
    default=1_000_000,
    show_default=True,
    help="Ticks of each run; four times as many where a batch is one call.",
)
@output_options
def throughput(*, json_path: Path | None, plot_path: Path | None, rounds: int, count: int) -> None:
    """Ticks/s from the gateway to a strategy's callback, as fast as they go.

    The floor sends one frame of a tick's size again and again from one process to another. The pipeline is the real
    gateway and the real strategy process, once with a message for each tick, once with batches into `on_tick`, once
    with batches into `on_ticks`. Queues have no limit, so that nothing is dropped.

    \b
    tickpulse bench throughput
    tickpulse bench throughput --count 5000000 --json throughput.json --plot throughput.svg
    """
    _prepare(count, plot_path)
    report = throughput_benchmark.run(count, rounds, _tell)
    _write(report, format_throughput(report), json_path)
    if plot_path is not None:
        draw_throughput(report, plot_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--count", type=click.IntRange(min=10), default=200_000, show_default=True, help="Measured ticks of each rule."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often each is measured.")
@json_option
def rules(*, json_path: Path | None, rounds: int, count: int) -> None:
    """Ticks/s through one rule, with windows of 10, 1,000 and 100,000 ticks: a tick costs the same in each.

    In one process without sockets, so there is no floor beside it. What the windows tell is compared with a
    recomputation.

    \b
    tickpulse bench rules
    tickpulse bench rules --count 1000000 --json rules.json
    """
    _prepare(count, None)
    report = rules_benchmark.run(count, rounds, _tell)
    _write(report, format_rules(report), json_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(min=1),
    multiple=True,
    default=(2_000.0,),
    show_default=True,
    help="Signals/s. Several times: one rate after the other.",
)
@click.option(
    "--duration", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Measured seconds of each rate."
)
@warm_up_option
@json_option
def orders(*, rates: tuple[float, ...], duration: float, warm_up: float, json_path: Path | None) -> None:
    """Signals to orders that the exchange has accepted, at a steady rate, with every safeguard on.

    A strategy emits a signal for each tick; outbox, journal, ledger and every risk limit are on. The load is open-loop:
    who is late gets the next signal all the same. Shown are orders/s over the whole time and in the worst second, what
    was left at the end, latencies, and how busy each process was: so also which would be full first, and when.

    \b
    tickpulse bench orders
    tickpulse bench orders --rate 1000 --rate 1500 --rate 2000 --duration 20 --json orders.json
    """
    plans = [orders_benchmark.make_plan(rate, duration, warm_up) for rate in rates]
    _prepare(min(plan.measured_count for plan in plans), None)
    report = orders_benchmark.run(plans, _tell)
    _write(report, format_orders(report), json_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--count", type=click.IntRange(min=50_000), default=1_000_000, show_default=True, help="Ticks through `on_tick`."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often each is measured.")
@json_option
def backtest(*, json_path: Path | None, rounds: int, count: int) -> None:
    """Ticks/s of a backtest: singly with an order every 500, and five times as many in groups, one every 50,000.

    Beside the ticks of a second of time stand those of a second of the processor, which a busy machine does not change.
    NautilusTrader does the work of the first side where it is installed.

    \b
    tickpulse bench backtest
    tickpulse bench backtest --count 5000000 --json backtest.json
    """
    _prepare(count, None)
    report = backtest_benchmark.run(count, rounds, _tell)
    _write(report, format_backtest(report), json_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--count", type=click.IntRange(min=1_000), default=1_000_000, show_default=True, help="Events of each run."
)
@click.option("--faulty", is_flag=True, help="Once more beside a handler that always fails and one that hangs.")
@json_option
def bus(*, json_path: Path | None, faulty: bool, count: int) -> None:
    """Events/s, latency and memory of the event bus.

    One async handler on one core with every policy on: queues, retries, timeouts, circuit breaker, repeats. Beside the
    events of a second of time stand those of a second of the processor, which a busy machine does not change. vn.py and
    NautilusTrader do the same work where they are installed.

    \b
    tickpulse bench bus
    tickpulse bench bus --faulty --json bus.json
    """
    _prepare(count, None)
    report = bus_benchmark.run(count, _tell, is_faulty=faulty)
    _write(report, format_bus(report), json_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--format",
    "formats",
    type=click.Choice(store_benchmark.FORMATS),
    multiple=True,
    help="One of the formats; may be repeated. Default: all.",
)
@click.option(
    "--count", type=click.IntRange(min=1_000), default=1_000_000, show_default=True, help="Events in each log."
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the logs are made, and removed again. Default: the system's folder for temporary files.",
)
@json_option
def store(*, formats: tuple[str, ...], count: int, folder: Path | None, json_path: Path | None) -> None:
    """Events/s of the event log: appended, read again, replayed, and found.

    Each format takes the same ticks, one message each, in batches of 1,000. A batch counts when it is safe against the
    death of the process; the close at the end is in the time. A query asks for ten seconds of one symbol.

    \b
    tickpulse bench store
    tickpulse bench store --format parquet --count 10000000
    """
    _prepare(count, None)
    report = store_benchmark.run(formats or store_benchmark.FORMATS, count, _tell, folder)
    _write(report, format_store(report), json_path)
    _exit(report)


@bench.command(cls=Command)
@click.option(
    "--rate", type=click.FloatRange(min=1), default=100_000.0, show_default=True, help="Ticks/s of one instrument."
)
@click.option(
    "--duration", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Measured seconds of each run."
)
@warm_up_option
@click.option(
    "--signal-every", type=click.IntRange(min=1), default=500, show_default=True, help="Ticks between two orders."
)
@click.option(
    "--batching/--no-batching", default=True, show_default=True, help="Whether ticks that wait together are packed."
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often, by turns.")
@json_option
def recorder(*, json_path: Path | None, rounds: int, batching: bool, **options: Any) -> None:
    """What recording costs the order path: bare, with the strategy's tape, and beside a recorder, by turns.

    The load is that of `latency`. Every tick that was published must be in the log.

    \b
    tickpulse bench recorder
    tickpulse bench recorder --no-batching --rounds 5 --json recorder.json
    """
    plan = OrderPathPlan(
        rate=options["rate"],
        duration_s=options["duration"],
        warm_up_s=options["warm_up"],
        signal_every=options["signal_every"],
    )
    _prepare(plan.measured_count, None)
    report = recorder_benchmark.run(plan, rounds, _tell, is_batching=batching)
    _write(report, format_recorder(report), json_path)
    _exit(report)


@bench.command(cls=Command)
@click.option("--rounds", type=click.IntRange(min=1), default=200, show_default=True, help="Halts, and resumptions.")
@click.option("--rate", type=click.FloatRange(min=1), default=500.0, show_default=True, help="Signals/s meanwhile.")
@click.option(
    "--working",
    type=click.IntRange(min=1, max=100),
    default=10,
    show_default=True,
    help="Orders on the book at each halt.",
)
@json_option
def halt(*, rounds: int, rate: float, working: int, json_path: Path | None) -> None:
    """Time from a person's halt to the last order out and every working order taken back.

    Under a steady flow of orders a person halts all trading through the control channel, looks until nothing works any
    more, and resumes; again and again. Times are those of the journal and the exchange's ledger: when the last order
    and the last cancel took effect there, which is later than when they were sent.

    \b
    tickpulse bench halt
    tickpulse bench halt --rounds 1000 --working 50 --json halt.json
    """
    _prepare(rounds, None)
    report = halt_benchmark.run(HaltPlan(rate=rate, rounds=rounds, resting_count=working), _tell)
    _write(report, format_halt(report), json_path)
    _exit(report)


def _prepare(measured_count: int, plot_path: Path | None) -> None:
    """Find out before minutes of measuring what would spoil them."""
    if not measured_count:
        raise click.UsageError("nothing to measure: choose a longer --duration or a smaller --signal-every")
    if plot_path is not None:
        plot.require(plot_path)
    # SIGTERM ends it like Ctrl-C, so that no process is left behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(*_: object) -> NoReturn:
    INTERRUPTED.set()
    raise KeyboardInterrupt


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


def _write(report: Report, text: str, json_path: Path | None) -> None:
    click.echo(text)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _exit(report: Report) -> NoReturn:
    sys.exit(ExitCode.OK if report.is_sound else ExitCode.CHECKS_FAILED)


if __name__ == "__main__":
    bench()
