"""`tickpulse import`: what a file says is stored as the gateway would have sent it, or refused with its place."""

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet
from support.feed_builders import (
    CAPTURED_NS,
    make_depth_line,
    make_line,
    make_quote_line,
    make_trade_line,
    make_unused_line,
    write_capture,
)
from support.real_data import real_capture

from common.events.market import BookDelta, Tick, Trade
from common.store.memory import MemoryStore
from gateway import import_command
from gateway.import_command import import_file

MS = 1_000_000
BINANCE = ("--instrument", "exchange=binance,symbol=BTC/USDT,raw_symbol=BTCUSDT,tick_size=0.01,lot_size=0.00001")
OF_BTC = ("--exchange", "binance", "--symbol", "BTC/USDT")
Import = Callable[..., Result]


@pytest.fixture
def store() -> MemoryStore:
    """Where the imports of a test go."""
    return MemoryStore()


@pytest.fixture
def run_import(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    """Run the command on a file; BTC/USDT of binance is in the table."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKPULSE_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(import_command, "open_store", lambda _address, **_options: store)

    def run(path: Path, *options: str, instruments: Sequence[str] = BINANCE) -> Result:
        return CliRunner().invoke(import_file, [str(path), "jsonl:day", *instruments, *options])

    return run


def messages_of(store: MemoryStore) -> list[Any]:
    """What was stored, in order."""
    return [record.message for record in store.get_events()]


def write_text(path: Path, *lines: str) -> Path:
    """A file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_real_capture_is_imported_and_its_book_equals_the_venues_best_prices(
    run_import: Import, store: MemoryStore
) -> None:
    """All 58,325 lines; 507 places where depth and bookTicker speak of the same update."""
    result = run_import(real_capture(), "--json")

    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (report["lines_read"], report["lines_refused"], report["time_went_back"]) == (58_325, 0, 0)
    assert report["events"] == {
        "Market.Tick.Received.v1": 55_281,
        "Market.Trade.Received.v1": 10_147,
        "Market.BookDelta.Received.v1": 3_044,
    }
    assert report["books"] == [
        {"symbol": "binance.BTC/USDT", "comparable": 507, "equal": 507, "gaps": 0, "differences": []}
    ]
    assert store.last_id == report["last_id"] == 68_472


@pytest.mark.parametrize("is_gzip", [False, True])
def test_capture_becomes_what_the_gateway_would_have_sent(
    run_import: Import, store: MemoryStore, tmp_path: Path, is_gzip: bool
) -> None:
    """A trade before its tick, numbers by topic, both times kept; streams that nobody reads are counted."""
    lines = [make_quote_line(), make_trade_line(CAPTURED_NS + MS), make_depth_line(CAPTURED_NS + 2 * MS)]

    result = run_import(write_capture(tmp_path / "capture", [*lines, make_unused_line()], is_gzip=is_gzip))

    quote, trade, tick, delta = messages_of(store)
    assert result.exit_code == 0, result.output
    assert "1 of other streams" in result.output
    assert isinstance(quote, Tick)
    assert (quote.source, quote.epoch, quote.seq, quote.timestamp_ns, quote.bid) == ("import", 1, 1, CAPTURED_NS, 99.5)
    assert isinstance(trade, Trade)
    assert (trade.seq, trade.exchange_timestamp_ns) == (1, 1_723_161_601_437 * MS)
    assert (tick.seq, tick.bid, tick.last, tick.timestamp_ns) == (2, 99.5, 61685.99, CAPTURED_NS + MS)
    assert isinstance(delta, BookDelta)
    assert (delta.seq, delta.symbol) == (1, "BTC/USDT")


def test_second_import_has_an_epoch_of_its_own(run_import: Import, store: MemoryStore, tmp_path: Path) -> None:
    """Else two events of one store would bear the same name."""
    path = write_capture(tmp_path / "capture", [make_quote_line()])

    run_import(path)
    run_import(path)

    assert len({message.event_id() for message in messages_of(store)}) == 2


def test_line_that_is_refused_is_named_and_the_rest_is_imported(
    run_import: Import, store: MemoryStore, tmp_path: Path
) -> None:
    """Exit code 3; with `--strict` it ends there."""
    path = write_capture(tmp_path / "capture", [make_quote_line(), make_quote_line(bid="nan"), b"1", make_quote_line()])

    result = run_import(path, "--format", "capture")
    strict = run_import(path, "--format", "capture", "--strict")

    assert result.exit_code == strict.exit_code == 3
    assert f"{path}, line 2: a price or size is negative, NaN or too large" in result.output
    assert f"{path}, line 3: expected a receive time" in result.output
    assert "line 2" in strict.output
    assert "line 3" not in strict.output
    assert store.last_id == 2 + 1


def test_book_that_differs_is_told(run_import: Import, tmp_path: Path) -> None:
    """The venue's own best ask at update 13 is another: exit code 3, with both."""
    quote = {"u": 13, "s": "BTCUSDT", "b": "99.5", "B": "2", "a": "100.6", "A": "3"}
    path = write_capture(tmp_path / "capture", [make_line("btcusdt@bookTicker", quote), make_depth_line(U=11, u=13)])

    result = run_import(path)

    assert result.exit_code == 3
    assert "in 0 of 1 comparable places" in result.output
    assert "update 13: expected ((99.5, 2.0), (100.6, 3.0)), the book has ((99.5, 2.0), (100.5, 3.0))" in result.output


def test_truncated_capture_gives_what_can_be_read(run_import: Import, store: MemoryStore, tmp_path: Path) -> None:
    """And says that it is damaged."""
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(b"".join(make_quote_line() + b"\n" for _ in range(2_000)))[:-12])

    result = run_import(path)

    assert result.exit_code == 3
    assert "damaged" in result.output
    assert store.last_id > 0


def test_ticks_of_csv_are_mapped(run_import: Import, store: MemoryStore, tmp_path: Path) -> None:
    """Other names, milliseconds, absent values, columns that nobody asked for."""
    path = write_text(
        tmp_path / "ticks.csv", "ts,best_bid,best_ask,note", "1723161600001,1.5,2,x", "1723161600002,,2.5,"
    )

    result = run_import(path, *OF_BTC, "--map", "timestamp=ts:ms", "--map", "bid=best_bid", "--map", "ask=best_ask")

    assert result.exit_code == 0, result.output
    assert [(tick.timestamp_ns, tick.bid, tick.ask, tick.bid_size) for tick in messages_of(store)] == [
        (CAPTURED_NS + MS, 1.5, 2.0, None),
        (CAPTURED_NS + 2 * MS, None, 2.5, None),
    ]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1723161600", ":s"),
        ("1723161600.000000", ":s"),
        ("1723161600000", ":ms"),
        ("1723161600000000", ":us"),
        ("1723161600000000000", ":ns"),
        ("1723161600000000000", ""),
        ("2024-08-09T00:00:00Z", ""),
        ("2024-08-09 00:00:00.000000000", ":iso"),
        ("2024-08-09T02:00:00.0+02:00", ":iso"),
    ],
)
def test_time_is_read_in_its_unit(run_import: Import, store: MemoryStore, tmp_path: Path, text: str, unit: str) -> None:
    """To the nanosecond; without an offset it is UTC."""
    path = write_text(tmp_path / "ticks.csv", "t,bid", f"{text},1")

    result = run_import(path, *OF_BTC, "--map", f"timestamp=t{unit}")

    assert result.exit_code == 0, result.output
    assert messages_of(store)[0].timestamp_ns == CAPTURED_NS


def test_nanoseconds_of_iso_are_kept(run_import: Import, store: MemoryStore, tmp_path: Path) -> None:
    """Python's own reader would cut them at microseconds."""
    run_import(write_text(tmp_path / "ticks.csv", "timestamp,bid", "2024-08-09T00:00:00.123456789Z,1"), *OF_BTC)

    assert messages_of(store)[0].timestamp_ns == CAPTURED_NS + 123_456_789


def test_trades_of_csv_give_a_trade_and_its_tick(run_import: Import, store: MemoryStore, tmp_path: Path) -> None:
    """As the gateway sends them; a mapping file for repeated use, semicolons, and symbols by row."""
    mapping = write_text(
        tmp_path / "m.toml", 'kind = "trades"', 'exchange = "binance"', "[map]", 'timestamp = "T:ms"', 'price = "p"'
    )
    path = write_text(
        tmp_path / "trades.csv", "T;symbol;p;quantity;is_buyer_maker", "1723161600000;BTCUSDT;10.5;2;true"
    )

    result = run_import(path, "--mapping", str(mapping))

    trade, tick = messages_of(store)
    assert result.exit_code == 0, result.output
    assert (trade.price, trade.quantity, trade.aggressor_side, trade.symbol) == (10.5, 2.0, "sell", "BTC/USDT")
    assert (tick.last, tick.volume, tick.bid) == (10.5, 2.0, None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1723161600000000000,x,1", "column bid: expected a number, was 'x'"),
        ("1723161600000000000,nan,1", "column bid: expected a number from 0 to 1e+15, was 'nan'"),
        ("1723161600000000000,-1,1", "column bid: expected a number from 0 to 1e+15, was '-1'"),
        ("1723161600000000000,1e400,1", "column bid: expected a number from 0"),
        ("1723161600000000000,1_0,1", "column bid: expected a number, was '1_0'"),
        ("1723161600000000000,,", "column bid: expected a bid, an ask or a last price"),
        ("1723161600000000000,1", "expected 3 columns, was '2'"),
        ("1723161600000,1,1", "name the column with :ms"),
        ("yesterday,1,1", "column timestamp: expected a time, a number or such as"),
        (",1,1", "column timestamp: expected a value, was nothing"),
    ],
)
def test_bad_row_is_refused_with_line_and_column(
    run_import: Import, store: MemoryStore, tmp_path: Path, row: str, reason: str
) -> None:
    """The good rows around it are imported."""
    good = "1723161600000000000,1,2"
    path = write_text(tmp_path / "ticks.csv", "timestamp,bid,ask", good, row, good)

    result = run_import(path, *OF_BTC)

    assert result.exit_code == 3
    assert f"{path}, line 3" in result.output
    assert reason in result.output
    assert store.last_id == 2


def test_time_that_goes_back_is_counted_and_ends_a_strict_import(
    run_import: Import, store: MemoryStore, tmp_path: Path
) -> None:
    """It is taken otherwise: a store puts its records in the order of time itself."""
    path = write_text(tmp_path / "t.csv", "timestamp,bid", "1723161600000000002,1", "1723161600000000001,2")

    result = run_import(path, *OF_BTC, "--json")
    strict = run_import(path, *OF_BTC, "--strict")

    assert (result.exit_code, strict.exit_code) == (0, 3)
    assert json.loads(result.stdout)["time_went_back"] == 1
    assert "line 3: time goes back" in strict.output
    assert store.last_id == 2 + 1


def test_parquet_is_imported_as_its_columns_say(run_import: Import, store: MemoryStore, tmp_path: Path) -> None:
    """Timestamps know their unit; decimals and nulls are taken; a bad row has its number."""
    columns = {
        "when": pa.array(
            [CAPTURED_NS // 1_000, CAPTURED_NS // 1_000 + 1, CAPTURED_NS // 1_000 + 2], pa.timestamp("us")
        ),
        "bid": pa.array([1.5, None, -1.0]),
        "ask": pa.array([2, 3, 4]),
        "other": ["a", "b", "c"],
    }
    parquet.write_table(pa.table(columns), tmp_path / "ticks.parquet")

    result = run_import(tmp_path / "ticks.parquet", *OF_BTC, "--map", "timestamp=when")

    assert result.exit_code == 3
    assert "row 3, column bid" in result.output
    assert [(tick.timestamp_ns, tick.bid, tick.ask) for tick in messages_of(store)] == [
        (CAPTURED_NS, 1.5, 2.0),
        (CAPTURED_NS + 1_000, None, 3.0),
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (OF_BTC, "expected a column 'timestamp' for timestamp, the columns are t, b"),
        ((*OF_BTC, "--map", "timestamp=t"), "expected a column for bid, ask or last"),
        ((*OF_BTC, "--map", "timestamp=t", "--map", "bid=B"), "expected a column 'B' for bid"),
        ((*OF_BTC, "--map", "timestamp=t:hours"), "expected a unit of s, ms, us, ns, iso"),
        ((*OF_BTC, "--map", "bidd=b"), "did you mean bid?"),
        ((*OF_BTC, "--map", "bid"), "expected FIELD=COLUMN"),
        (("--symbol", "BTC/USDT", "--map", "timestamp=t", "--map", "bid=b"), "name it with --exchange"),
        (("--exchange", "binance", "--symbol", "XRP", "--map", "timestamp=t", "--map", "bid=b"), "add [[instruments]]"),
        (("--instrument", "exchange=x"), "--instrument 'exchange=x'"),
        (("--mapping", "absent.toml"), "--mapping absent.toml: expected a readable TOML file"),
    ],
)
def test_wrong_mapping_says_what_to_change(
    run_import: Import, store: MemoryStore, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    """Nothing is stored."""
    result = run_import(write_text(tmp_path / "t.csv", "t,b", "1723161600000000000,1"), *options)

    assert result.exit_code == 78
    assert reason in result.output
    assert store.last_id == 0


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08garbage", b"PAR1 and no more", b"\x00\xff\xfe\x01" * 400])
def test_foreign_file_is_refused_with_a_message(run_import: Import, tmp_path: Path, content: bytes) -> None:
    """No traceback, whatever the file is."""
    path = tmp_path / "file"
    path.write_bytes(content)

    result = run_import(path, *OF_BTC)

    assert result.exit_code == 78, result.output
    assert str(path) in result.output


def test_capture_of_an_unknown_instrument_says_what_to_add(run_import: Import, tmp_path: Path) -> None:
    """Or to name one with `--symbol`, which passes the others over."""
    other = make_quote_line().replace(b"BTCUSDT", b"XRPUSDT")
    path = write_capture(tmp_path / "capture", [make_quote_line(), other])

    assert "--instrument exchange=binance,symbol=XRPUSDT" in run_import(path).output
    assert run_import(path, "--symbol", "BTC/USDT").exit_code == 0
