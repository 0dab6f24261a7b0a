"""What a gateway broadcasts, written down and played again, is what it was."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.feed_builders import FOREVER_NS, START_NS, drain, make_recorded_feed, make_synthetic_feed
from support.gateway_builders import (
    LOCAL_NS,
    Broadcast,
    make_depth_snapshot,
    make_depth_update,
    make_quote,
    make_trade,
)

from common.errors import ConfigError, FatalError
from common.events.base import Message
from gateway import record_command
from gateway.feeds.base import Update
from gateway.feeds.binance import parse_line
from gateway.recording import raw_form
from gateway.recording.capture_writer import CaptureWriter
from gateway.recording.raw_form import RawForm

LINES = [b"1723161600000000000 {}", b"1723161600000000001 {}"]

amounts = st.floats(0, 1e15)
exchange_times = st.none() | st.integers(LOCAL_NS - 10**9, LOCAL_NS)
levels = st.lists(st.tuples(amounts, amounts), max_size=3)
contents = st.one_of(
    st.builds(make_quote, amounts, amounts, bid_size=amounts, exchange_timestamp_ns=exchange_times),
    st.builds(
        make_trade,
        amounts,
        quantity=amounts,
        exchange_timestamp_ns=exchange_times,
        aggressor_side=st.sampled_from(["buy", "sell", None]),
        trade_id=st.none() | st.sampled_from(["0", "17", "007", "9" * 30, "a-b", ""]),
    ),
    st.builds(make_depth_update, bids=levels, asks=levels, exchange_timestamp_ns=exchange_times),
    st.builds(make_depth_snapshot, bids=levels, asks=levels, exchange_timestamp_ns=exchange_times),
)


def with_times(updates: Sequence[Any]) -> list[Update]:
    """Each a nanosecond after the one before it."""
    return [
        msgspec.structs.replace(update, local_timestamp_ns=LOCAL_NS + number) for number, update in enumerate(updates)
    ]


def write_down(messages: Sequence[Message]) -> list[Any]:
    """The updates that a reader finds in the lines of a recording."""
    form = RawForm()
    lines = [line for message in messages for line in form.lines(message)]
    return [parse_line(line) for line in [*lines, *form.finish()]]


@settings(deadline=None)
@given(contents=st.lists(contents, max_size=25), batch_ticks_max=st.sampled_from([1, 2, 512]), cut=st.integers(0, 25))
def test_any_updates_are_read_back_as_they_were(contents: list[Any], batch_ticks_max: int, cut: int) -> None:
    """In their order, however they were packed: prices, sizes, both times, ids; also what Binance has no form for."""
    broadcast = Broadcast(batch_ticks_max=batch_ticks_max)
    updates = with_times(contents)

    broadcast.publish(*updates[:cut])
    broadcast.publish(*updates[cut:])

    assert write_down(broadcast.take()) == updates


@pytest.mark.parametrize("batch_ticks_max", [1, 512])
def test_synthetic_market_is_recorded_and_played_again(tmp_path: Path, batch_ticks_max: int) -> None:
    """Through a compressed file and the recorded feed: equal updates."""
    feed = make_synthetic_feed(tick_count_max=2_000)
    feed.start(START_NS)
    updates = drain(feed, FOREVER_NS)
    broadcast = Broadcast(batch_ticks_max=batch_ticks_max)
    for start in range(0, len(updates), 50):
        broadcast.publish(*updates[start : start + 50])
    form, writer = RawForm(), CaptureWriter(tmp_path / "capture.gz")
    for message in broadcast.take():
        writer.write(form.lines(message))
    writer.write(form.finish())
    writer.close()

    again = make_recorded_feed(tmp_path / "capture.gz", speed=0.0)
    again.start(START_NS)

    assert drain(again) == updates
    again.close()


def test_trade_whose_tick_was_lost_has_its_line() -> None:
    """A later tick shows that its own does not come."""
    broadcast = Broadcast(batch_ticks_max=1)
    updates = [make_trade(), make_quote(local_timestamp_ns=LOCAL_NS + 5)]
    broadcast.publish(*updates)
    trade, _its_tick, quote = broadcast.take()

    assert write_down([trade, quote]) == updates


def test_tick_of_no_trade_and_no_quote_has_no_line() -> None:
    """As after a trade before the first quote, when the trade itself was lost."""
    broadcast = Broadcast(batch_ticks_max=1)
    broadcast.publish(make_trade())
    form = RawForm()

    assert form.lines(broadcast.take()[1]) == []
    assert form.counts["ticks_without_quote"] == 1


def test_what_waits_for_a_tick_that_does_not_come_is_settled() -> None:
    """At the second time: a book without ticks is recorded all the same."""
    broadcast = Broadcast()
    broadcast.publish(make_depth_update())
    form = RawForm()
    (delta,) = broadcast.take()

    assert form.lines(delta) == form.settle() == []
    assert [parse_line(line) for line in form.settle()] == [make_depth_update()]


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first."""
    monkeypatch.setattr(raw_form, "WAITING_MAX", 2)
    broadcast = Broadcast()
    updates = [make_depth_update(first_update_id=number) for number in range(3)]
    broadcast.publish(*updates)
    form = RawForm()

    lines = [line for message in broadcast.take() for line in form.lines(message)]

    assert [parse_line(line) for line in lines] == updates[:1]


@pytest.mark.parametrize("name", ["capture", "capture.gz"])
def test_file_that_was_not_closed_is_readable_up_to_the_last_flush(tmp_path: Path, name: str) -> None:
    """As after kill -9: nothing but what was flushed reached the disk."""
    path = tmp_path / name
    writer = CaptureWriter(path)
    writer.write(LINES)
    writer.flush()
    copy = tmp_path / "as_killed"
    copy.write_bytes(path.read_bytes())
    writer.close()

    content = copy.read_bytes()
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as file:
            assert file.read() == b"\n".join(LINES) + b"\n"
        with copy.open("rb") as raw, gzip.GzipFile(fileobj=raw) as file:
            content = file.read1(1_000)
    assert content == b"\n".join(LINES) + b"\n"


def test_next_file_begins_by_size(tmp_path: Path) -> None:
    """Each is whole by itself."""
    writer = CaptureWriter(tmp_path / "day.gz", bytes_max=10)
    for line in LINES:
        writer.write([line])
        writer.flush()
    writer.close()
    writer.close()

    assert [path.name for path in writer.paths] == ["day.gz", "day-2.gz", "day-3.gz"]
    assert [gzip.decompress(path.read_bytes()) for path in writer.paths] == [*(line + b"\n" for line in LINES), b""]
    assert writer.bytes_written == sum(path.stat().st_size for path in writer.paths)
    assert writer.lines_written == 2


def test_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    """It may end in half a line, or half a compressed block, behind which nothing could be read."""
    path = tmp_path / "capture"
    path.write_bytes(b"mine")

    with pytest.raises(ConfigError, match="there is one; a recording never appends"):
        CaptureWriter(path)
    assert path.read_bytes() == b"mine"


def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """Before anything is recorded."""
    with pytest.raises(ConfigError, match="cannot be made, No such file or directory"):
        CaptureWriter(tmp_path / "absent" / "capture")


def test_nobody_to_record_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a message, not a hang."""
    monkeypatch.setattr(record_command, "JOIN_NS_MAX", 1)

    result = CliRunner().invoke(record_command.record, [str(tmp_path / "capture"), "--run-dir", str(tmp_path)])

    assert result.exit_code == 3
    assert "expected a gateway at" in result.output


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which refuses every write")  # noqa: PTH110
def test_full_disk_ends_a_recording_with_a_message(tmp_path: Path) -> None:
    """What was flushed before is readable."""
    writer = CaptureWriter(tmp_path / "capture")
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123
    os.dup2(full.fileno(), writer._file.fileno())
    full.close()

    with pytest.raises(FatalError, match="No space left on device; what was flushed is readable"):
        writer.write(LINES)
    writer.close()
