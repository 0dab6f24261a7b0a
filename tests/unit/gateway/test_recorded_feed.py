"""A capture file played again: its timing, its damage, and the books kept about every line."""

import contextlib
import gzip
import os
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pytest
from support.feed_builders import (
    CAPTURED_NS,
    START_NS,
    drain,
    make_depth_line,
    make_quote_line,
    make_recorded_feed,
    make_trade_line,
    make_unused_line,
    write_capture,
)
from support.real_data import real_capture

from common.errors import ConfigError
from gateway.config import RecordedConfig
from gateway.feeds.base import QuoteUpdate, TradeUpdate
from gateway.feeds.binance import LINE_BYTES_MAX
from gateway.feeds.capture_file import PIECE_BYTES, CaptureFile
from gateway.feeds.recorded import MALFORMED_LINES_KEPT, READ_AHEAD_LINES, RecordedFeed

MS = 1_000_000


def make_quote_lines(count: int) -> list[bytes]:
    """Quotes a millisecond apart."""
    return [make_quote_line(CAPTURED_NS + number * MS) for number in range(count)]


class StartFeed(Protocol):
    """Starts a feed at START_NS; everything is due at once unless told."""

    def __call__(self, path: Path, speed: float = 0.0) -> RecordedFeed: ...


@pytest.fixture
def start() -> Iterator[StartFeed]:
    """Start feeds that are closed after the test."""
    with contextlib.ExitStack() as feeds:

        def start_feed(path: Path, speed: float = 0.0) -> RecordedFeed:
            feed = feeds.enter_context(contextlib.closing(make_recorded_feed(path, speed=speed)))
            feed.start(START_NS)
            return feed

        yield start_feed


def assert_every_line_is_accounted_for(feed: RecordedFeed) -> None:
    """Check the balance of a feed that was read to its end."""
    counters = feed.counters()
    accounted = counters["lines_published"] + counters["lines_malformed"] + counters["lines_ignored"]
    assert counters["lines_read"] == accounted


def test_real_capture_is_read_to_the_last_line(start: StartFeed) -> None:
    """Five minutes of BTCUSDT: 45,134 quotes, 10,147 trades, 3,044 depth updates."""
    feed = start(real_capture())

    updates = drain(feed)

    kinds = Counter(type(update).__name__ for update in updates)
    assert kinds == {"QuoteUpdate": 45_134, "TradeUpdate": 10_147, "DepthUpdate": 3_044}
    assert feed.damage is None
    assert feed.counters() == {
        "lines_read": 58_325,
        "lines_published": 58_325,
        "lines_malformed": 0,
        "lines_ignored": 0,
        "clock_went_back": 0,
        "feed_truncated": 0,
    }


def test_depth_that_is_not_asked_for_is_ignored(tmp_path: Path) -> None:
    """`gateway.recorded.depth = false` counts the order book's lines and passes them over."""
    path = write_capture(tmp_path / "capture", [make_depth_line(), make_quote_line()])
    with contextlib.closing(RecordedFeed(RecordedConfig(path=str(path), depth=False))) as feed:
        feed.start(START_NS)

        updates = drain(feed)

        assert [type(update) for update in updates] == [QuoteUpdate]
        assert feed.counters()["lines_ignored"] == 1


def test_real_capture_keeps_its_negative_latency(start: StartFeed) -> None:
    """The recorder's clock ran 1.27 s behind the venue's: that is reported, never clipped."""
    feed = start(real_capture())

    trades = [update for update in drain(feed) if isinstance(update, TradeUpdate)]

    latencies_ns = [trade.local_timestamp_ns - (trade.exchange_timestamp_ns or 0) for trade in trades]
    assert max(latencies_ns) < 0


@pytest.mark.parametrize(("speed", "spacing_ns"), [(1.0, MS), (10.0, MS // 10), (0.5, 2 * MS), (0.0, 0)])
def test_updates_are_due_in_original_timing_scaled_by_speed(
    start: StartFeed, tmp_path: Path, speed: float, spacing_ns: int
) -> None:
    """The first is due at the start; speed 0 does not wait at all."""
    path = write_capture(tmp_path / "capture", [make_unused_line(CAPTURED_NS - 50 * MS), *make_quote_lines(4)])
    feed = start(path, speed)

    due_times = []
    while (due_ns := feed.next_due_ns()) is not None:
        due_times.append(due_ns)
        feed.read(due_ns, 1)

    assert due_times == [START_NS + number * spacing_ns for number in range(4)]


def test_updates_keep_the_times_of_the_file(start: StartFeed, tmp_path: Path) -> None:
    """The local time says when the recorder received it, whenever that was."""
    path = write_capture(tmp_path / "capture", make_quote_lines(3))
    feed = start(path)

    updates = drain(feed)

    assert [update.local_timestamp_ns for update in updates] == [CAPTURED_NS, CAPTURED_NS + MS, CAPTURED_NS + 2 * MS]


@pytest.mark.parametrize("speed", [1e-300, float("inf")])
def test_extreme_speed_keeps_due_times_inside_64_bits(start: StartFeed, tmp_path: Path, speed: float) -> None:
    """A config may ask for any speed."""
    feed = start(write_capture(tmp_path / "capture", make_quote_lines(2)), speed)

    feed.read(START_NS, 1)

    due_ns = feed.next_due_ns()
    assert due_ns is not None
    assert START_NS <= due_ns < 1 << 63


@pytest.mark.parametrize("name", ["capture", "capture.gz", "capture.txt"])
@pytest.mark.parametrize("is_gzip", [False, True])
def test_compression_is_told_by_content_not_by_name(start: StartFeed, tmp_path: Path, name: str, is_gzip: bool) -> None:
    """People rename files."""
    path = write_capture(tmp_path / name, make_quote_lines(3), is_gzip=is_gzip)

    updates = drain(start(path))

    assert len(updates) == 3


def test_joined_gzip_files_are_read_one_after_another(start: StartFeed, tmp_path: Path) -> None:
    """`cat a.gz b.gz` is a valid gzip file."""
    path = tmp_path / "capture.gz"
    path.write_bytes(b"".join(gzip.compress(line + b"\n") for line in make_quote_lines(50)))

    feed = start(path)

    assert len(drain(feed)) == 50
    assert feed.damage is None


def test_last_line_needs_no_line_feed(start: StartFeed, tmp_path: Path) -> None:
    """A recorder that was stopped may leave it out."""
    path = tmp_path / "capture"
    path.write_bytes(b"\n".join(make_quote_lines(3)))

    updates = drain(start(path))

    assert len(updates) == 3


def test_malformed_lines_are_skipped_counted_and_remembered_by_number(tmp_path: Path) -> None:
    """Whoever repairs the file finds the place; the service hears of each line."""
    heard: list[tuple[int, str]] = []
    path = write_capture(
        tmp_path / "capture", [make_quote_line(), b"", make_unused_line(), b"\xff\x00", make_trade_line()]
    )
    feed = RecordedFeed(
        RecordedConfig(path=str(path), speed=0.0), lambda number, reason: heard.append((number, reason))
    )
    feed.start(START_NS)

    updates = drain(feed)

    assert len(updates) == 2
    assert [number for number, _ in feed.malformed_lines] == [2, 4]
    assert all("receive time" in reason for _, reason in feed.malformed_lines)
    assert heard == feed.malformed_lines
    assert feed.counters()["lines_malformed"] == 2
    assert feed.counters()["lines_ignored"] == 1
    assert_every_line_is_accounted_for(feed)


def test_only_the_first_malformed_lines_are_remembered(start: StartFeed, tmp_path: Path) -> None:
    """The count goes on, the memory does not."""
    garbage_count = 3 * READ_AHEAD_LINES
    path = write_capture(tmp_path / "capture", [make_quote_line(), *[b"garbage"] * garbage_count, make_quote_line()])
    feed = start(path)

    updates = drain(feed)

    assert len(updates) == 2
    assert feed.counters()["lines_malformed"] == garbage_count
    assert [number for number, _ in feed.malformed_lines] == list(range(2, 2 + MALFORMED_LINES_KEPT))


def test_enormous_line_is_one_malformed_line(start: StartFeed, tmp_path: Path) -> None:
    """It is neither kept in memory nor cut into several."""
    path = write_capture(tmp_path / "capture", [make_quote_line(), b"x" * (3 * LINE_BYTES_MAX), make_quote_line()])
    feed = start(path)

    updates = drain(feed)

    assert len(updates) == 2
    assert feed.malformed_lines == [(2, f"expected at most {LINE_BYTES_MAX} bytes, the line is longer")]
    assert feed.counters()["lines_read"] == 3


def test_rest_of_an_enormous_line_is_not_kept_in_memory(tmp_path: Path) -> None:
    """Of a line over the limit there is never more than the limit and one piece of the file."""
    path = write_capture(tmp_path / "capture", [b"x" * (20 * PIECE_BYTES), b"next"])
    file = CaptureFile(str(path), line_bytes_max=100)

    lines = list(file.lines())

    assert 100 < len(lines[0]) <= 101 + PIECE_BYTES
    assert lines[1] == b"next"


def test_time_that_goes_back_is_counted_and_due_at_once(start: StartFeed, tmp_path: Path) -> None:
    """Clocks are set back; nothing is lost or held up because of it."""
    times_ns = [CAPTURED_NS, CAPTURED_NS + 10 * MS, CAPTURED_NS + 3 * MS, CAPTURED_NS + 12 * MS]
    path = write_capture(tmp_path / "capture", [make_quote_line(time_ns) for time_ns in times_ns])
    feed = start(path, speed=1.0)

    updates = feed.read(START_NS + 10 * MS, 10)

    assert [update.local_timestamp_ns for update in updates] == times_ns[:3]
    assert feed.next_due_ns() == START_NS + 12 * MS
    assert feed.counters()["clock_went_back"] == 1


def test_file_is_not_read_faster_than_it_is_played(start: StartFeed, tmp_path: Path) -> None:
    """Memory stays bounded, however long the capture."""
    path = write_capture(tmp_path / "capture", make_quote_lines(10 * READ_AHEAD_LINES))
    feed = start(path, speed=1.0)

    feed.read(START_NS, 1)

    assert feed.counters()["lines_read"] == READ_AHEAD_LINES
    assert feed.counters()["lines_published"] == 1


@pytest.mark.parametrize("kept_share", [0.3, 0.9, 0.999])
def test_truncated_gzip_gives_what_can_be_read_and_says_so(start: StartFeed, tmp_path: Path, kept_share: float) -> None:
    """A recorder that was killed leaves such a file."""
    lines = [make_trade_line(CAPTURED_NS + number * MS, t=number) for number in range(3_000)]
    whole = gzip.compress(b"\n".join(lines))
    path = tmp_path / "capture.gz"
    path.write_bytes(whole[: int(len(whole) * kept_share)])
    feed = start(path)

    updates = drain(feed)

    assert 0 < len(updates) < 3_000
    assert [b.local_timestamp_ns - a.local_timestamp_ns for a, b in pairwise(updates)] == [MS] * (len(updates) - 1)
    assert feed.damage is not None
    assert "truncated" in feed.damage
    assert feed.counters()["feed_truncated"] == 1
    assert feed.next_due_ns() is None
    assert_every_line_is_accounted_for(feed)


def test_wrong_checksum_loses_no_line(start: StartFeed, tmp_path: Path) -> None:
    """The fault shows only at the very end; all that came before it is delivered."""
    content = bytearray(gzip.compress(b"\n".join(make_quote_lines(100)) + b"\n"))
    content[-8] ^= 0xFF
    path = tmp_path / "capture.gz"
    path.write_bytes(content)
    feed = start(path)

    updates = drain(feed)

    assert len(updates) == 100
    assert feed.damage is not None
    assert "corrupt" in feed.damage
    assert feed.counters()["feed_truncated"] == 1


def test_gzip_that_is_corrupt_in_the_middle_gives_what_stands_before(start: StartFeed, tmp_path: Path) -> None:
    """A bad block of a disk: good lines come first, the feed ends at the fault."""
    lines = [make_trade_line(CAPTURED_NS + number * MS, t=number) for number in range(3_000)]
    content = bytearray(gzip.compress(b"\n".join(lines)))
    middle = len(content) // 2
    content[middle : middle + 64] = b"\xff" * 64
    path = tmp_path / "capture.gz"
    path.write_bytes(content)
    feed = start(path)

    updates = drain(feed)

    assert [update.local_timestamp_ns for update in updates[:1_000]] == [CAPTURED_NS + n * MS for n in range(1_000)]
    assert feed.damage is not None
    assert "corrupt" in feed.damage
    assert_every_line_is_accounted_for(feed)


def test_garbage_behind_a_gzip_file_is_damage_and_loses_no_line(start: StartFeed, tmp_path: Path) -> None:
    """What can be read is read; what cannot is not passed over in silence."""
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(b"\n".join(make_quote_lines(100)) + b"\n") + b"garbage")
    feed = start(path)

    updates = drain(feed)

    assert len(updates) == 100
    assert feed.damage is not None


def test_missing_file_is_refused(start: StartFeed, tmp_path: Path) -> None:
    """A restart cannot help, so it is a config error that names the file."""
    with pytest.raises(ConfigError, match=r"nowhere\.gz.*was missing; correct the path"):
        start(tmp_path / "nowhere.gz")


def test_directory_is_refused(start: StartFeed, tmp_path: Path) -> None:
    """The message says what was there."""
    with pytest.raises(ConfigError, match="was a directory"):
        start(tmp_path)


def test_pipe_is_refused(start: StartFeed, tmp_path: Path) -> None:
    """Opening one waits for a writer, perhaps for ever."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ConfigError, match="was no regular file"):
        start(tmp_path / "pipe")


def test_empty_path_is_refused() -> None:
    """The default of the config; the message names the key to set."""
    feed = RecordedFeed(RecordedConfig())

    with pytest.raises(ConfigError, match=r"set gateway\.recorded\.path"):
        feed.start(START_NS)


def test_file_without_permission_is_refused(start: StartFeed, tmp_path: Path) -> None:
    """The operating system's reason is in the message."""
    path = write_capture(tmp_path / "capture", make_quote_lines(1))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file, so the fault cannot be made")

    with pytest.raises(ConfigError, match="Permission denied"):
        start(path)


def test_empty_file_is_refused(start: StartFeed, tmp_path: Path) -> None:
    """Nothing to play is a mistake, not a feed that has ended."""
    with pytest.raises(ConfigError, match="was empty"):
        start(write_capture(tmp_path / "capture", []))


@pytest.mark.parametrize("is_gzip", [False, True])
@pytest.mark.parametrize("lines", [[b"some", b"other file"], [make_unused_line()], [b""]])
def test_file_without_a_usable_line_is_refused(
    start: StartFeed, tmp_path: Path, lines: list[bytes], is_gzip: bool
) -> None:
    """The message says what was expected, how much of what was there, and which key to change."""
    path = write_capture(tmp_path / "capture", lines, is_gzip=is_gzip)

    with pytest.raises(ConfigError, match=rf"trade or depth.*none in {len(lines)} lines.*gateway\.recorded\.path"):
        start(path)


def test_file_that_is_corrupt_from_its_first_byte_is_refused_with_the_reason(start: StartFeed, tmp_path: Path) -> None:
    """Gzip by its first two bytes, and nothing behind them."""
    path = tmp_path / "capture.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00")

    with pytest.raises(ConfigError, match="truncated"):
        start(path)
