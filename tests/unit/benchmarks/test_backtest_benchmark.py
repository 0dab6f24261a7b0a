import itertools

import pytest

from benchmarks import backtest, backtest_peer
from benchmarks.backtest import IN_GROUPS, SINGLY, BacktestReport, make_chunks
from benchmarks.backtest_peer import PEER, PeerRun
from benchmarks.tables import format_backtest


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> BacktestReport:
    """A short run, on a machine without the peer."""

    def miss(*_: object) -> None:
        raise ImportError("no module", name="nautilus_trader")

    monkeypatch.setattr(backtest_peer, "_prepare", miss)
    return backtest.run(60_000, 1, lambda _: None)


def test_every_tick_is_seen_and_every_order_filled(report: BacktestReport) -> None:
    """A rate whose counts do not add up would mean nothing."""
    assert report.is_sound
    assert {check.name: check.actual for check in report.checks[0]} == {
        "on_tick: ticks seen": 60_000,
        "on_tick: orders placed": 120,
        "on_tick: orders filled": 120,
        "on_ticks: ticks seen": 300_000,
        "on_ticks: orders placed": 6,
        "on_ticks: orders filled": 6,
    }


def test_peer_that_is_not_there_is_skipped_with_the_reason(report: BacktestReport) -> None:
    """It is no failure, and it is said."""
    text = format_backtest(report)

    assert set(report.sides) == {SINGLY, IN_GROUPS}
    assert f"{PEER}: skipped: nautilus_trader is not installed here" in text


def test_order_that_is_missing_is_seen() -> None:
    """The checks are of counts that can be wrong."""
    found = PeerRun(ticks=1_000, orders=2, fills=1, elapsed_s=1.0, processor_s=1.0)

    assert [check.is_met for check in backtest.check(SINGLY, found, 1_000, 500)] == [True, True, False]


def test_market_goes_on_across_chunks() -> None:
    """A tick each ms, whatever the length."""
    times = [int(each) for part in make_chunks(70_000) for each in part["timestamp_ns"]]

    assert len(times) == 70_000
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {backtest.TICK_NS}
