"""A strategy process that is killed between its decision and the executor's answer."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from support.pipeline import Pipeline, View, make_config

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

NAME = "pingpong"


@pytest.fixture
def trading() -> Iterator[Pipeline]:
    """One strategy trades."""
    with Pipeline(make_config()) as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        pipeline.start_strategy(NAME, "support.pipeline_strategies:PingPong")
        pipeline.wait_counter(NAME, "signals_accepted", 3)
        yield pipeline


def kept_ids(pipeline: Pipeline) -> list[str]:
    """What the outbox on disk holds."""
    path = pipeline.directory / "state" / f"{NAME}.outbox.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM instructions ORDER BY number")]


def signals(pipeline: Pipeline) -> dict[str, View]:
    """What the executor's journal says of each signal."""
    return {signal["signal_id"]: signal for signal in pipeline.journal()["signals"]}


def test_signals_of_a_killed_strategy_find_their_end(trading: Pipeline) -> None:
    """Nobody had them but the outbox: the executor was dead when they were sent, then their strategy was killed too."""
    trading.kill("executor")
    trading.wait_counter(NAME, "signals_pending", 1)
    trading.kill(NAME)
    left = kept_ids(trading)

    trading.restart("executor", NAME)
    trading.eventually(lambda: left and not set(left) & set(kept_ids(trading)), what="the end of every signal")

    assert trading.wait_counter(NAME, "signals_restored", len(left)) == len(left)
    assert {signals(trading)[signal_id]["outcome"] for signal_id in left} <= {"accepted", "denied"}


def test_strategy_that_lost_its_directory_says_so_and_trades_on(trading: Pipeline) -> None:
    """Its file was removed while it was dead; positions and orders come from the executor all the same."""
    trading.kill(NAME)
    for path in (trading.directory / "state").glob(f"{NAME}.outbox.sqlite*"):
        path.unlink()

    trading.restart(NAME)

    trading.wait_counter(NAME, "signals_accepted", 3)
    assert {signal_id.rsplit("-", 2)[0] for signal_id in signals(trading)} == {NAME}
