import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.eventually import eventually
from support.file_store import FileStore
from support.message_builders import make_tick
from support.message_samples import sample_message
from support.recorder_builders import TOPIC

from common.config import Config
from common.errors import ConfigError
from common.events.base import DRAFT, Message
from common.events.market import Tick
from common.events.system import GapFound, LogPruned
from common.events.trading import OrderFilled
from common.process import Process
from common.sockets.factory import Sockets
from common.sockets.transfer import drain
from common.store.address import FORMATS, open_store
from common.store.config import StoreConfig
from common.store.contract import StoreDamagedError
from common.store.record import Record
from common.wire import codec
from common.wire.publisher import Publisher
from recorder.config import RecorderConfig, RetentionConfig
from recorder.service import CHANNELS, RecorderService


class Bench:
    """A recorder whose turns a test makes, and publishers on all channels."""

    def __init__(self, directory: Path, store_config: StoreConfig | None = None, **config: Any) -> None:
        self.config = Config({"run": {"directory": str(directory)}}, "test")
        self.directory = directory
        self.section = RecorderConfig(
            **{"store": "file:store", "nice": 0, "gather_ms": 0, "flush_interval_ms": 1, "retry_ms": 1, **config}
        )
        self.store_config = StoreConfig() if store_config is None else store_config
        self.config.run_directory().create()
        self.sockets = Sockets(self.config.settings().sockets)
        self.told: list[bytes] = []
        self.telemetry = self.sockets.bind_subscriber(self.config.endpoint("telemetry"), [b"log_gap.", b"alarm."])
        self.publishers = {channel: self.publisher(channel) for channel in CHANNELS}
        self.service = self.start()

    def publisher(self, channel: str, epoch: int = 1_000) -> Publisher:
        """A publisher's life on a channel of its own."""
        bound = self.__dict__.setdefault("bound", {})
        if channel not in bound:
            bound[channel] = self.sockets.bind_publisher(self.config.endpoint(channel))
        return Publisher(
            role=channel, source=f"{channel}_source", epoch=epoch, channel=channel, send=bound[channel].send
        )

    def start(self) -> RecorderService:
        """Begin a life of the recorder, and wait until it hears every channel."""
        self.process = Process("recorder", "recorder", self.config)
        self.service = RecorderService(self.process, self.section, self.store_config)
        self.service.open()

        def hears_all() -> bool:
            for publisher in self.publishers.values():
                publisher.heartbeat(1)
            self.turn()
            return self.service._intake.heard.keys() >= set(CHANNELS)

        eventually(hears_all, what="the recorder hears every channel")
        return self.service

    def turn(self) -> None:
        """Let the recorder work, and take what it tells."""
        self.service.turn(5)
        drain(self.telemetry, self.told.append, 100)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Turn until it is so."""

        def has_come() -> bool:
            self.turn()
            return condition()

        eventually(has_come, what=what)

    def counter(self, name: str) -> int:
        """As the recorder reports it."""
        return self.service.counters().get(name, 0)

    def kill(self) -> None:
        """End the life without a last word."""
        self.service.close()
        self.process.close()

    def recorded(self) -> list[Message]:
        """The log so far."""
        with open_store(f"{self.section.store.partition(':')[0]}:{self.directory / 'store'}") as store:
            return [record.message for record in store.get_events()]

    def close(self) -> None:
        """End everything."""
        self.kill()
        self.sockets.close()


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Makes one; it is closed at the end."""
    monkeypatch.setitem(FORMATS, "file", ("support.file_store", None))  # type: ignore[arg-type]  # a dict, if a constant one
    made: list[Bench] = []

    def make(**config: Any) -> Bench:
        made.append(Bench(tmp_path / "run", **config))
        return made[-1]

    yield make
    for bench in made:
        bench.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


def draft_tick() -> Message:
    """A tick without its place."""
    return msgspec.structs.replace(make_tick(1), **DRAFT)


def draft_filled(number: int = 1) -> Message:
    """An event of an order without its place."""
    return msgspec.structs.replace(sample_message(OrderFilled), **DRAFT, execution_number=number)


def gaps_of(messages: list[Message]) -> list[tuple[str, int, int | None, str]]:
    """Stream, bounds and reason of each gap."""
    return [(gap.stream, gap.first_seq, gap.last_seq, gap.reason) for gap in messages if isinstance(gap, GapFound)]


def test_every_channel_is_recorded_and_flushed(make_bench: Callable[..., Bench]) -> None:
    """Whatever is broadcast, as it was sent; the position on the disk is told."""
    bench = make_bench()
    sent = [draft_tick(), *(draft_filled(number) for number in range(3))]
    for publisher, message in zip(bench.publishers.values(), sent, strict=True):
        publisher.publish(message)

    bench.until(lambda: bench.counter("flushed_id") == 4, "four messages are flushed")

    assert sorted(map(codec.encode, bench.recorded())) == sorted(map(codec.encode, sent))
    assert (bench.counter("last_id"), bench.counter("log_tick"), bench.counter("log_order_filled")) == (4, 1, 3)


def test_full_disk_is_survived_and_what_found_no_room_is_a_gap(make_bench: Callable[..., Bench]) -> None:
    """Frames wait up to the bound; then the newest are dropped, with exact bounds in the log and on telemetry."""
    bench = make_bench(buffer_bytes_max=1_000)
    full = bench.directory / "store" / "full"
    full.touch()
    bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("disk_refusals") > 0, "the disk refuses")
    for _ in range(29):
        bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("log_tick") + bench.counter("received") >= 30, "all have come")
    assert bench.counter("last_id") == 0

    full.unlink()
    bench.until(lambda: bench.counter("buffer_bytes") == 0 and bench.counter("last_id") > 0, "what waited is written")
    bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("log_tick") + bench.counter("log_lost_tick") == 31, "all is accounted for")
    bench.until(lambda: bool(bench.told), "the gap is told")

    log = bench.recorded()
    gaps = [(first_seq, last_seq or 0) for _, first_seq, last_seq, _ in gaps_of(log)]
    # What came when the disk took again, and before half of what waited was written, found a full buffer.
    assert {"DISK_FULL"} <= {reason for *_, reason in gaps_of(log)} <= {"DISK_FULL", "BUFFER_FULL"}
    missing = {number for first_seq, last_seq in gaps for number in range(first_seq, last_seq + 1)}
    assert missing
    assert {message.seq for message in log if message.source == "market_source"} == set(range(1, 32)) - missing
    assert codec.decode(bench.told[0]) in log


def test_life_after_a_kill_knows_what_was_missed(make_bench: Callable[..., Bench]) -> None:
    """From the last record on up to the first heartbeat; nothing is recorded or reported twice."""
    bench = make_bench()
    for _ in range(5):
        bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("last_id") == 5, "five ticks are written")
    bench.kill()
    for _ in range(3):
        bench.publishers["market"].publish(draft_tick())
    bench.start()
    bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("log_tick") == 6, "the next tick is written")
    bench.kill()
    bench.start()

    bench.until(lambda: bench.counter("flushed_id") == 7, "it stands where it stood")

    log = bench.recorded()
    assert gaps_of(log) == [(TOPIC, 6, 8, "RECORDER_DOWN")]
    assert [message.seq for message in log if message.source == "market_source"] == [1, 2, 3, 4, 5, 9]
    assert (bench.counter("log_tick"), bench.counter("log_lost_tick")) == (6, 3)


def test_publisher_that_was_restarted_meanwhile_leaves_a_gap_without_an_end(make_bench: Callable[..., Bench]) -> None:
    """Its old life may have said more; nobody can tell, and that is said."""
    bench = make_bench()
    bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("flushed_id") == 1, "a tick is written")
    bench.kill()
    bench.publishers["market"] = bench.publisher("market", epoch=2_000)
    bench.publishers["market"].publish(draft_tick())

    bench.start()
    bench.until(lambda: bench.counter("log_lost_tick") == 1, "the gap is written")

    assert sorted(gaps_of(bench.recorded()), key=str) == [
        (TOPIC, 1, 1, "RECORDER_DOWN"),
        (TOPIC, 2, None, "RECORDER_DOWN"),
    ]


def test_stop_writes_what_came_before_it(make_bench: Callable[..., Bench]) -> None:
    """And keeps where everything stands, so that the next start reads nothing of the log."""
    bench = make_bench(flush_interval_ms=600_000)
    bench.service._next_flush_ns = bench.process.clock.monotonic_ns() * 2
    for _ in range(50):
        bench.publishers["events"].publish(draft_filled())

    bench.service.begin_stop()
    bench.until(bench.service.is_settled, "it has settled")

    assert (bench.counter("flushed_id"), bench.counter("log_order_filled")) == (50, 50)
    bench.kill()
    bench.start()
    assert bench.counter("records_folded") == 0


def test_unknown_format_is_a_mistake_of_the_config(tmp_path: Path) -> None:
    """Exit 78, so that nothing is restarted for it."""
    config = Config({"run": {"directory": str(tmp_path)}}, "test")
    process = Process("recorder", "recorder", config)
    service = RecorderService(process, RecorderConfig(store="csv:there", nice=0), StoreConfig())

    with pytest.raises(ConfigError, match="expected one of jsonl:PATH"):
        service.open()
    service.close()
    process.close()


def test_retention_removes_old_market_data_while_the_recorder_runs(make_bench: Callable[..., Bench]) -> None:
    """The log says so itself and stays whole; orders stay; a later life stands where this one stood."""
    config = StoreConfig(segment_bytes_max=2_000)
    bench = make_bench(
        store="jsonl:store", store_config=config, retention=RetentionConfig(older_than="1h", interval_s=1)
    )
    for number in range(1, 31):
        bench.publishers["market"].publish(msgspec.structs.replace(draft_tick(), timestamp_ns=number))
        bench.publishers["events"].publish(draft_filled(number))
        bench.until(lambda number=number: bench.counter("recorded") == 2 * number, "both are written")

    bench.until(lambda: bench.counter("retention_records") > 0, "old ticks are removed")
    bench.until(lambda: bench.counter("flushed_id") == bench.counter("last_id"), "the log stands still")

    log = bench.recorded()
    removed = sum(sum(each.records_of_type.values()) for each in log if isinstance(each, LogPruned))
    assert removed == bench.counter("retention_records")
    assert sum(isinstance(each, OrderFilled) for each in log) == 30
    assert sum(isinstance(each, Tick) for each in log) == 30 - removed
    bench.kill()
    with open_store(f"jsonl:{bench.directory / 'store'}") as store:
        assert store.verify().is_whole
    bench.start()
    assert bench.counter("records_folded") == 0


def test_damaged_log_is_repaired_at_the_start_and_goes_on(make_bench: Callable[..., Bench]) -> None:
    """What is damaged lies in quarantine, the people on call hear of it, and recording goes on."""
    bench = make_bench(store="jsonl:store", store_config=StoreConfig(segment_bytes_max=2_000))
    for number in range(1, 31):
        bench.publishers["market"].publish(draft_tick())
        bench.until(lambda number=number: bench.counter("recorded") == number, "it is written")
    bench.kill()
    segment = min((bench.directory / "store").glob("*.jsonl"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    segment.with_suffix(".index").unlink(missing_ok=True)
    (bench.directory / "state" / "recorder.standing").unlink()

    bench.start()
    bench.publishers["market"].publish(draft_tick())
    bench.until(lambda: bench.counter("log_tick") > 0 and bench.counter("recorded") > 0, "the next tick is written")
    bench.until(lambda: any(b"LOG_DAMAGED" in frame for frame in bench.told), "the alarm is told")

    assert bench.counter("log_repairs") == bench.counter("alarms") == 1
    assert list((bench.directory / "store" / "quarantine").iterdir())
    assert [message.seq for message in bench.recorded() if message.source == "market_source"][-1] == 31
    with open_store(f"jsonl:{bench.directory / 'store'}") as store:
        assert store.verify().is_whole


def test_damaged_log_of_a_format_without_repair_stops_the_recorder_alone(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit 78: it would be damaged after a restart, too."""
    bench = make_bench()
    bench.kill()

    def get_events(*_: object) -> Iterator[Record]:
        raise StoreDamagedError("record 1: expected it as it was written, was something else")

    monkeypatch.setattr(FileStore, "get_events", get_events)
    process = Process("recorder", "recorder", bench.config)
    service = RecorderService(process, bench.section, StoreConfig())
    with pytest.raises(ConfigError, match="the format file cannot be repaired"):
        service.open()
    service.close()
    process.close()


def test_disk_is_left_as_free_as_it_is_told_to(make_bench: Callable[..., Bench]) -> None:
    """What would go beyond waits as on a full disk, and nobody else is disturbed."""
    bench = make_bench(store="jsonl:store", store_config=StoreConfig(clear_of_disk_bytes=1 << 60))
    bench.publishers["market"].publish(draft_tick())

    bench.until(lambda: bench.counter("disk_refusals") > 1, "it is refused, and tried again")

    assert (bench.counter("last_id"), bench.counter("buffer_bytes_highest") > 0) == (0, True)


def test_retention_that_cannot_be_done_is_an_alarm_and_no_end(make_bench: Callable[..., Bench]) -> None:
    """As with a format that has none: recording goes on."""
    bench = make_bench(retention=RetentionConfig(older_than="1h"))
    bench.publishers["market"].publish(draft_tick())

    bench.until(lambda: bench.counter("log_tick") == bench.counter("retention_refused") == 1, "both have happened")
    bench.until(lambda: any(b"LOG_NOT_PRUNED" in frame for frame in bench.told), "the alarm is told")
