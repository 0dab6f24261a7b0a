"""A challenge over five minutes of a real market, in the timing of the recording: one is passed, one is failed."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from support.executor_builders import ExecutorHarness, make_instrument, make_reference
from support.real_data import real_capture
from support.worker_builders import Desk, build_positions, until

from common.bus import Bus
from common.bus.worker import WorkerContext
from common.clock import NS_PER_S, VirtualClock
from common.events.market import Quote
from gateway.config import RecordedConfig
from gateway.feeds.base import QuoteUpdate
from gateway.feeds.recorded import RecordedFeed
from workers.challenge.report import summary_of
from workers.challenge.worker import FOLDER, Challenge, read_progress
from workers.config import WorkersConfig
from workers.registry import WorkerRegistry
from workers.risk_monitor import RiskMonitor

SAMPLE_NS = NS_PER_S // 4
TERMS: dict[str, Any] = {
    "starting_balance": "10000",
    "daily_loss_max": "100",
    "total_loss_max": "500",
    "phases": [{"profit_target": "50", "trading_days_min": 1}],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "risk_monitor": {"starting_equity": "10000", "interval_ms": 250},
    "challenge": TERMS | {"attempt_id": "modest"},
    "greedy_challenge": TERMS | {"attempt_id": "greedy", "phases": [{"profit_target": "500"}]},
}


class GreedyChallenge(Challenge):
    """A second attempt on the same portfolio, whose target is out of reach."""

    worker_name = "greedy_challenge"


def recorded_quotes(path: Path) -> Iterator[Quote]:
    """Every quote of the capture that begins a quarter of a second, at the time when it was received."""
    feed = RecordedFeed(RecordedConfig(path=str(path)))
    feed.start(0)
    seq, next_ns = 0, 0
    while (due_ns := feed.next_due_ns()) is not None:
        for update in feed.read(due_ns, 1_000):
            if isinstance(update, QuoteUpdate) and update.local_timestamp_ns >= next_ns:
                next_ns = update.local_timestamp_ns + SAMPLE_NS
                seq += 1
                yield Quote(
                    source="gateway", epoch=1, seq=seq, timestamp_ns=update.local_timestamp_ns, exchange="simulated",
                    symbol="BTC/USDT", bid=update.bid, ask=update.ask,
                )  # fmt: skip
    feed.close()


def buy_one(quote: Quote, directory: Path) -> None:
    """The read model of a run that has bought 1 BTC at the first ask."""
    price = Decimal(str(quote.ask))
    harness = ExecutorHarness(make_instrument(max_notional=Decimal(100_000)))
    harness.reference = make_reference(bid=price, ask=price, last=price)
    harness.recover()
    harness.have_working("s-1", limit_price=price)
    # A moment after the attempt's beginning, which is the first quote.
    traded = {"quantity": "1", "filled_quantity": "1", "leaves_quantity": "0", "timestamp_ns": quote.timestamp_ns + 1}
    harness.fill("s-1", price=price, fee="0", **traded)
    build_positions(harness.journal.entries, directory)


def play(quotes: list[Quote], directory: Path) -> None:
    """Have risk monitor and challenges hear these quotes, on a bus, at their time."""
    clock = VirtualClock(quotes[0].timestamp_ns)

    def context_for(name: str) -> WorkerContext:
        context = Desk(directory).context
        return context._replace(worker_name=name, clock=clock, options=OPTIONS[name], publish=bus.publish)

    bus = Bus()

    async def run() -> None:
        async with bus:
            registry = WorkerRegistry(bus, context_for, WorkersConfig(), Desk(directory).context.log)
            for make in (RiskMonitor, Challenge, GreedyChallenge):
                registry.register(make)
            async with registry:
                await until(lambda: registry.unready() is None)
                for quote in quotes:
                    clock.advance_to(quote.timestamp_ns)
                    await bus.publish(quote)
                    await bus.drain(20.0)

    asyncio.run(run())


def report_of(attempt_id: str, directory: Path) -> tuple[dict[str, Any], str]:
    """The figures of an attempt, and its page."""
    progress = read_progress(directory / FOLDER / f"{attempt_id}.json")
    assert progress is not None
    return summary_of(progress.attempt, progress.terms), (directory / FOLDER / f"{attempt_id}.html").read_text()


def test_recorded_market_passes_one_attempt_and_fails_another(tmp_path: Path) -> None:
    """Up 55 within ten seconds, down 129 within 72: the modest one is through by then, the greedy one is not."""
    quotes = list(recorded_quotes(real_capture()))
    buy_one(quotes[0], tmp_path)

    play(quotes, tmp_path)

    modest, modest_page = report_of("modest", tmp_path)
    greedy, greedy_page = report_of("greedy", tmp_path)
    assert (modest["status"], modest["failed_by"], modest["trading_days"]) == ("passed", None, 1)
    assert (greedy["status"], greedy["failed_by"]) == ("failed", "DAILY_LOSS_LIMIT")
    assert Decimal(modest["profit"]) >= 50
    assert Decimal(greedy["worst_daily_loss"]) >= 100
    assert modest["ended_ns"] < greedy["ended_ns"] < quotes[-1].timestamp_ns
    assert "Every phase was passed" in modest_page
    assert "Failed by DAILY_LOSS_LIMIT" in greedy_page
    assert all("<svg" in page for page in (modest_page, greedy_page))
