from collections.abc import Iterator
from pathlib import Path

import pytest
from support.backtest_builders import make_market
from support.memory_stores import STORES

from backtest.planning import Wish
from backtest.sweep import combine, parse_axis, rank, run_sweep
from backtest.tables import format_csv, format_sweep
from common.config import load
from common.errors import ConfigError
from common.store import address
from common.store.address import open_store
from common.store.memory import MemoryStore

STRATEGY = "support.backtest_builders:Taker"
INSTRUMENTS = """
[[instruments]]
exchange = "simulated"
symbol = "BTC/USDT"
raw_symbol = "BTCUSDT"
tick_size = "0.01"
lot_size = "0.001"
"""


@pytest.fixture
def wish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wish]:
    """Of a store in memory, with a market of 1,000 ticks."""
    monkeypatch.setitem(address.FORMATS, "memory", ("support.memory_stores", None))  # type: ignore[arg-type]
    STORES["market"] = MemoryStore()
    STORES["market"].append_batch(make_market(1_000))
    config = tmp_path / "tickpulse.toml"
    config.write_text(INSTRUMENTS)
    yield Wish(config=load(config, {}), strategy=STRATEGY, store="memory:market")
    STORES.clear()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=1:4:1", [1, 2, 3, 4]),
        ("fast=1:4", [1, 2, 3, 4]),
        ("fast=0.1:0.5:0.2", [0.1, 0.3, 0.5]),
        ("fast=5,7.5,maker", [5, 7.5, "maker"]),
        ("fast=3:3:1", [3]),
    ],
)
def test_axis_is_read_as_people_write_it(text: str, values: list[object]) -> None:
    """Ends are included, decimals are exact, names are names."""
    assert parse_axis(text) == ("fast", values)


@pytest.mark.parametrize("text", ["fast", "=1:2:1", "fast=", "fast=3:1:1", "fast=1:5:0", "fast=a:b:c", "fast=1:2:3:4"])
def test_axis_that_is_none_is_refused(text: str) -> None:
    """The message says what was expected."""
    with pytest.raises(ConfigError, match="expected"):
        parse_axis(text)


def test_every_combination_once() -> None:
    """The cartesian product, the last axis running fastest."""
    assert combine([("a", [1, 2]), ("b", [3, 4])]) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
        {"a": 2, "b": 4},
    ]
    with pytest.raises(ConfigError, match="each parameter once"):
        combine([("a", [1]), ("a", [2])])


def test_sweep_has_a_result_for_each_and_ranks_them(wish: Wish) -> None:
    """What trades least pays the fewest fees, and comes first."""
    done = list(run_sweep(wish, combine([("every", [50, 100, 400])]), jobs=1))
    ranked = rank(done, "net_profit")

    assert [each.error for each in done] == [None] * 3
    assert [each.parameters["every"] for each in ranked] == [400, 100, 50]
    assert "net_profit" in format_sweep(ranked)
    assert format_csv(ranked).count("\n") == 4


def test_combination_that_fails_is_named_and_the_others_go_on(wish: Wish) -> None:
    """A parameter of the wrong kind costs its own combination only."""
    done = rank(list(run_sweep(wish, combine([("every", [50, "often", 100])]), jobs=1)), "net_profit")

    assert [each.result is None for each in done] == [False, False, True]
    assert done[-1].parameters == {"every": "often"}
    assert "every" in (done[-1].error or "")
    assert "expected int" in format_csv(done).lower()


@pytest.mark.processes
def test_sweep_over_processes_gives_the_same_results(wish: Wish, tmp_path: Path) -> None:
    """Two workers read one store."""
    pytest.importorskip("common.store.jsonl.store", reason="needs a format of files, which workers can share")
    store = f"jsonl:{tmp_path / 'store'}"
    with open_store(store, is_writer=True) as writer:
        writer.append_batch(make_market(500))
    on_disk = Wish(config=wish.config, strategy=STRATEGY, store=store)
    combinations = combine([("every", [50, 100])])

    alone = rank(list(run_sweep(on_disk, combinations, jobs=1)), "net_profit")
    together = rank(list(run_sweep(on_disk, combinations, jobs=2)), "net_profit")

    assert [each.result and each.result.outcome for each in alone] == [
        each.result and each.result.outcome for each in together
    ]
