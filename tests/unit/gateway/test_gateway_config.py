"""How the gateway is told what to broadcast: feeds by name, and options that override the config."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.feed_builders import make_instrument

from common.errors import ExitCode
from common.instruments import InstrumentTable
from gateway.__main__ import gateway
from gateway.config import GatewayConfig, RecordedConfig, StoreFeedConfig, SyntheticConfig
from gateway.feeds.base import Feed
from gateway.feeds.recorded import RecordedFeed
from gateway.feeds.store import StoreFeed
from gateway.feeds.synthetic import SyntheticFeed
from gateway.service import make_feed


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config file and no environment of ours but the test's."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKPULSE_"):
            monkeypatch.delenv(name)


def make(config: GatewayConfig) -> Feed:
    """The feed that a config names, for instruments of two exchanges."""
    table = InstrumentTable([make_instrument(exchange="binance"), make_instrument(exchange="paper")])
    return make_feed(config, table, lambda _line, _reason: None)


def test_synthetic_feed_trades_the_instruments_of_its_exchange() -> None:
    """Those of another exchange are not its own."""
    feed = make(GatewayConfig(synthetic=SyntheticConfig(exchange="paper", rate=0, tick_count_max=8)))

    feed.start(1_000)

    assert isinstance(feed, SyntheticFeed)
    assert feed.exchange == "paper"
    assert {update.raw_symbol for update in feed.read(2_000, 100)} == {"BTCUSDT"}


def test_recorded_feed_is_that_of_the_file() -> None:
    """Under the name of its exchange; the file is opened when it starts."""
    feed = make(GatewayConfig(feed="recorded", recorded=RecordedConfig(path="capture.gz", exchange="binance")))

    assert isinstance(feed, RecordedFeed)
    assert feed.exchange == "binance"


def test_store_feed_is_that_of_the_log() -> None:
    """Under the name of the exchange whose ticks it plays; the log is opened when it starts."""
    feed = make(GatewayConfig(feed="store", store=StoreFeedConfig(address="jsonl:log", exchange="binance")))

    assert isinstance(feed, StoreFeed)
    assert feed.exchange == "binance"


def invoke(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(gateway, arguments)


@pytest.mark.parametrize(
    ("option", "key"),
    [("--rate", "gateway.synthetic.rate"), ("--speed", "gateway.recorded.speed")],
)
@pytest.mark.parametrize("value", ["-1", "nan"])
def test_option_overrides_its_key_and_is_named_when_it_is_wrong(option: str, key: str, value: str) -> None:
    """A person must find where the wrong value came from; nothing is started."""
    result = invoke("--set", f"{key}=5.0", option, value)

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert f"{option}: {key}: expected float >= 0.0, was {float(value)}" in result.output
    assert not Path("run").exists()


@pytest.mark.parametrize(("bars", "reason"), [('["1x"]', "such as 5s, 1m"), ('["1m", "1m"]', "each interval once")])
def test_wrong_bars_are_told_with_their_key(bars: str, reason: str) -> None:
    """Before anything is started."""
    result = invoke("--set", f"gateway.bars={bars}")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert "--set gateway.bars" in result.output
    assert reason in result.output


def test_unknown_feed_is_a_usage_error_that_lists_the_known_ones() -> None:
    """Of the option; the config's own mistake is told with its key."""
    by_option = invoke("--feed", "live")
    by_config = invoke("--set", "gateway.feed=live")

    assert (by_option.exit_code, by_config.exit_code) == (ExitCode.USAGE, ExitCode.BAD_CONFIG)
    assert "'live' is not one of 'synthetic', 'recorded'" in by_option.output
    assert (
        "--set gateway.feed: gateway.feed: expected one of 'synthetic', 'recorded', 'store', was 'live'"
        in by_config.output
    )


def test_help_names_every_option_of_the_feeds() -> None:
    """And the units of their values."""
    text = invoke("--help").output

    assert all(option in text for option in ("--feed", "--path", "--speed", "--store", "--from", "--to"))
    assert all(option in text for option in ("--rate", "--set", "--run-dir", "--config"))
    assert "ticks/s" in text
