import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.backtest_builders import make_market
from support.memory_stores import STORES

from backtest.command import backtest
from common.store import address
from common.store.memory import MemoryStore

TAKER = "support.backtest_builders:Taker"
INSTRUMENTS = """
[[instruments]]
exchange = "simulated"
symbol = "BTC/USDT"
raw_symbol = "BTCUSDT"
tick_size = "0.01"
lot_size = "0.001"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config with one instrument, and a store `memory:market` with its ticks."""
    monkeypatch.setitem(address.FORMATS, "memory", ("support.memory_stores", None))  # type: ignore[arg-type]
    STORES["market"] = MemoryStore()
    STORES["market"].append_batch(make_market(1_000))
    path = tmp_path / "tickpulse.toml"
    path.write_text(INSTRUMENTS)
    yield path
    STORES.clear()


def call(config: Path, *arguments: str, strategy: str = TAKER) -> Result:
    """Run the command in this process."""
    given = ["--config", str(config), "--strategy", strategy, "--store", "memory:market", *arguments]
    return CliRunner().invoke(backtest, given, prog_name="backtest")


def test_table_and_json_tell_the_same_result_twice(config: Path) -> None:
    """The hash is printed, and a second run has it again."""
    first = call(config)
    again = call(config, "--json")

    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    told = json.loads(again.output)
    assert told["outcome"]["result_hash"] in first.output
    assert told["statistics"]["fills"] == 20
    assert re.search(r"net profit +-", first.output)


def test_report_is_one_file_that_needs_no_network(config: Path, tmp_path: Path) -> None:
    """No script, style, font or image from elsewhere; and everything that the result depends on is in it."""
    path = tmp_path / "report.html"
    told = json.loads(call(config, "--json", "--report", str(path), "--param", "every=40").stdout)
    page = path.read_text()

    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", outside)
    assert not re.search(r"<(link|img|iframe)\b|@import|url\(", outside)
    assert told["outcome"]["result_hash"] in outside
    for text in ("parameter every", "Sharpe", "drawdown", "Days, UTC", "Trades: ", "taker fee", "memory:market"):
        assert text in outside
    assert page.count("Plotly.newPlot(") == 3


def test_sweep_report_has_a_plot_and_every_combination(config: Path, tmp_path: Path) -> None:
    """One axis is a line, two are a heat map; the table has all, and CSV too."""
    path, table = tmp_path / "sweep.html", tmp_path / "sweep.csv"
    axes = ["--sweep", "every=50,100", "--sweep", "quantity=1:2:0.5"]
    result = call(config, *axes, "--jobs", "1", "--report", str(path), "--csv", str(table))

    assert result.exit_code == 0, result.output
    assert "All 6 combinations" in path.read_text()
    assert '"type":"heatmap"' in path.read_text()
    assert len(table.read_text().splitlines()) == 7


def test_strategy_that_raises_ends_with_its_own_exit_code(config: Path) -> None:
    """The result is told all the same, with what was raised."""
    result = call(config, strategy="support.backtest_builders:Raiser")

    assert result.exit_code == 1
    assert "callbacks of the strategy raised; the first: on_tick: RuntimeError" in result.output
    assert "halted: 10 callbacks failed" in result.output


@pytest.mark.parametrize(
    ("arguments", "strategy", "exit_code", "text"),
    [
        ([], "momentun", 78, "did you mean momentum?"),
        (["--param", "evry=3"], TAKER, 78, "did you mean every?"),
        (["--param", "every=often"], TAKER, 78, "Expected int, got str: every"),
        (["--param", "every"], TAKER, 78, "expected KEY=VALUE"),
        (["--from", "2024-01-02", "--to", "2024-01-01"], TAKER, 2, "expected a time before --to"),
        (["--from", "yesterday"], TAKER, 2, "expected ISO 8601"),
        (["--from", "2030-01-01"], TAKER, 1, "no tick of simulated.BTC/USDT from 2030-01-01T00:00:00Z; it has"),
        (["--latency-us", "market=soon"], TAKER, 78, "expected µs"),
        (["--latency-us", "moon=3"], TAKER, 78, "unknown key"),
        (["--equity", "-5"], TAKER, 78, "above 0"),
        (["--set", "backtest.group_ms=-1"], TAKER, 78, "group_ms"),
        (["--sweep", "every=5:1:1"], TAKER, 78, "FROM <= TO"),
        (["--compare-run", "nowhere"], TAKER, 78, "expected an executor's journal"),
    ],
)
def test_wrong_input_is_named_with_what_was_expected(
    config: Path, arguments: list[str], strategy: str, exit_code: int, text: str
) -> None:
    """Each mistake has its message and its documented exit code."""
    result = call(config, *arguments, strategy=strategy)

    assert text in result.output
    assert result.exit_code == exit_code


def test_strategy_without_an_instrument_in_the_table_is_refused(config: Path) -> None:
    """The message lists what the table has."""
    config.write_text(f'{INSTRUMENTS}\n[strategy.taker]\ninstruments = ["binance.*"]\n')
    result = call(config)

    assert result.exit_code == 78
    assert "matches binance.*; known: simulated.BTC/USDT" in result.output


def test_missing_library_is_named_before_anything_is_run(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs it."""
    monkeypatch.setattr("backtest.command.find_spec", lambda _: None)
    result = call(config)

    assert result.exit_code == 78
    assert "pip install tickpulse[backtest]" in result.output


def test_failed_combination_is_named_at_the_end(config: Path) -> None:
    """The others have their rows."""
    result = call(config, "--sweep", "every=50,never", "--jobs", "1")

    assert result.exit_code == 1
    assert "failed: every=never:" in result.output
