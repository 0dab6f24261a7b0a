"""The gateway's sockets and loop: asks the feed what is due, sends it, and answers late joiners."""

from collections.abc import Callable, Mapping

from common.bars import parse_interval
from common.clock import NS_PER_MS, NS_PER_S
from common.errors import ConfigError, WireError, WireFault
from common.events.base import DRAFT
from common.events.market import SnapshotReported, SnapshotRequested
from common.events.system import ConnectionChanged, ConnectionState
from common.instruments import InstrumentTable
from common.metrics import Latency
from common.process import Process
from common.run_directory import Lock
from common.sockets.factory import Socket
from common.sockets.transfer import Envelope, Waiter, answer, send_waiting, sender, take_request
from common.store.config import StoreConfig
from common.store.replay.server import ControlServer
from common.wire import codec
from gateway.config import GatewayConfig
from gateway.feeds.base import Feed, PackedFeed
from gateway.feeds.recorded import RecordedFeed
from gateway.feeds.store import StoreFeed
from gateway.feeds.synthetic import SyntheticFeed
from gateway.normaliser import Normaliser

UPDATES_PER_TURN_MAX = 4_096
REQUESTS_PER_TURN_MAX = 16
# A poll counts in whole ms. For less the process sleeps by the clock, and looks for requests when it wakes.
POLL_NS_MIN = 2 * NS_PER_MS
MALFORMED_LOGGED_MAX = 100  # the rest is counted: a file of garbage must not fill the disk twice
# Late joiners, heartbeats and quotes count in ms: no need to look at each of 10 k wake-ups a second.
HOUSEKEEPING_NS = NS_PER_MS
# How long a restarted executor may have to wait for the price of a quiet instrument.
QUOTE_REFRESH_NS = NS_PER_S // 4
# From here on an array of ticks is cheaper than as many objects.
PACKED_COUNT_MIN = 64
# Replayed prices are traded nowhere else; the exchange process of the same run reads the same key.
MODES_OF_REPLAY = frozenset({"simulated"})
OnMalformed = Callable[[int, str], None]


class GatewayService:
    """Moves updates from the feed to the market channel."""

    def __init__(self, process: Process, config: GatewayConfig) -> None:
        self._process = process
        self._config = config
        self._clock = process.clock
        self._next_heartbeat_ns = 0
        self._next_housekeeping_ns = 0
        self._next_quotes_ns = 0
        self._next_refresh_ns = 0
        self._next_bars_ns = 0
        self._read_count = 0
        self._subscribers: set[str] = set()
        self._is_feed_started = False
        self._is_feed_ended = False
        self._is_stopping = False
        self._opened_ns = 0
        self._dropped = 0
        self._control: ControlServer | None = None
        self._replay_lock: Lock | None = None
        self._malformed_logged = 0

    def open(self) -> None:
        """Bind, and prepare the feed; it starts when its subscribers are there."""
        process, config = self._process, self._config
        instruments = process.config.instruments()
        self._feed = make_feed(config, instruments, self._on_malformed, process.config.section("store", StoreConfig))
        sockets = [self._take_replay(self._feed)] if isinstance(self._feed, StoreFeed) else []
        # Opened here to find a missing file at once; started again, from the first update, when all are there.
        self._feed.start(self._clock.now_ns())
        self._packed_feed = self._feed if isinstance(self._feed, PackedFeed) else None
        if self._packed_feed is not None and not self._packed_feed.has_only_quotes:
            self._packed_feed = None
        self._requests = process.sockets.bind_router(process.endpoint("snapshots"))
        waits = config.on_slow_subscriber == "wait"
        self._socket = process.sockets.bind_publisher(process.endpoint("market"), waits_for_slow=waits)
        self._publisher = process.publisher("market", self._send_or_count if waits else sender(self._socket))
        self._normaliser = Normaliser(
            self._feed.exchange,
            instruments.of_exchange(self._feed.exchange),
            self._publisher,
            batch_ticks_max=config.batch_ticks_max if config.batching else 1,
            bars=[parse_interval(text) for text in config.bars],
        )
        self._waiter = Waiter(self._requests, *sockets)
        self._opened_ns = self._clock.monotonic_ns()

    def turn(self, timeout_ms: int) -> None:
        """Send what is due, answer who asks, sleep until the next is due."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._next_housekeeping_ns:
            self._next_housekeeping_ns = now_ns + HOUSEKEEPING_NS
            self._answer_requests()
            if self._control is not None:
                self._control.serve(now_ns)
            self._publish_by_time(now_ns)
        if self._is_stopping or self._is_feed_ended or not self._may_feed(now_ns):
            self._waiter.wait(timeout_ms)
            return
        self._publish_due(now_ns)
        if self._normaliser.has_new_instrument:
            self._normaliser.sample(is_refresh=False)
        self._sleep(timeout_ms)

    def readiness(self) -> str | None:
        """Ready when bound; it does not wait for anybody."""
        return None

    def counters(self) -> dict[str, int]:
        """What was read, sent and refused."""
        return {
            "ticks_published": self._normaliser.ticks_published,
            **self._normaliser.counts,
            **self._feed.counters(),
            "subscribers_joined": len(self._subscribers),
            "messages_dropped": self._dropped,
            "feed_ended": int(self._is_feed_ended),
        }

    def latencies(self) -> Mapping[str, Latency]:
        """None here: a tick's way begins here."""
        return {}

    def begin_stop(self) -> None:
        """Publish no more, but say the last numbers, so that nobody takes silence for the end."""
        self._is_stopping = True
        self._publisher.heartbeat(self._clock.now_ns())

    def is_settled(self) -> bool:
        """Nothing is held back: what was read was sent."""
        return True

    def close(self) -> None:
        """Close the feed."""
        if hasattr(self, "_feed"):
            self._feed.close()
        if self._replay_lock is not None:
            self._replay_lock.release()

    def _take_replay(self, feed: StoreFeed) -> Socket:
        """Let programs steer the feed; refuse a run that could trade what it plays.

        Raises:
            ConfigError: This run is not simulated, or another replay has its channel.
        """
        process = self._process
        if process.settings.run.mode not in MODES_OF_REPLAY:
            raise ConfigError(
                f"run.mode: expected {' or '.join(MODES_OF_REPLAY)} where the gateway feeds from a store, was "
                f"{process.settings.run.mode}; old prices must never reach a real venue"
            )
        self._replay_lock = process.run_directory.lock("replay", self._clock.now_ns())
        socket = process.sockets.bind_router(process.endpoint("replay"))
        self._control = ControlServer(socket, feed.player, self._clock, self._on_bad_command)
        return socket

    def _on_bad_command(self, error: WireError) -> None:
        self._normaliser.counts[error.fault.value] += 1
        self._process.faults.report("replay", error, peer="")

    def _publish_by_time(self, now_ns: int) -> None:
        if now_ns >= self._next_heartbeat_ns:
            self._publisher.heartbeat(now_ns)
            self._next_heartbeat_ns = now_ns + self._config.heartbeat_interval_ms * NS_PER_MS
        if now_ns >= self._next_quotes_ns:
            is_refresh = now_ns >= self._next_refresh_ns
            self._normaliser.sample(is_refresh=is_refresh)
            self._next_quotes_ns = now_ns + self._config.quote_interval_ms * NS_PER_MS
            if is_refresh:
                self._next_refresh_ns = now_ns + QUOTE_REFRESH_NS
            if self._config.bars:
                self._publish_bars(now_ns)

    def _publish_bars(self, now_ns: int) -> None:
        is_refresh = now_ns >= self._next_bars_ns
        self._normaliser.publish_bars(now_ns, is_refresh=is_refresh)
        if is_refresh:
            self._next_bars_ns = now_ns + self._config.bar_interval_ms * NS_PER_MS

    def _publish_due(self, now_ns: int) -> None:
        if self._packed_feed is not None and self._read_count >= PACKED_COUNT_MIN:
            batches = self._packed_feed.read_packed(now_ns, UPDATES_PER_TURN_MAX)
            self._read_count = sum(len(batch.records) for batch in batches)
            for batch in batches:
                self._normaliser.publish_batch(batch, now_ns)
        else:
            updates = self._feed.read(now_ns, UPDATES_PER_TURN_MAX)
            self._read_count = len(updates)
            if updates:
                self._normaliser.publish(updates, now_ns)

    def _sleep(self, timeout_ms: int) -> None:
        due_ns = self._feed.next_due_ns()
        if due_ns is None:
            self._end_feed()
            return
        pause_ns = min(due_ns - self._clock.now_ns(), timeout_ms * NS_PER_MS)
        if pause_ns >= POLL_NS_MIN:
            self._waiter.wait(pause_ns // NS_PER_MS)
        elif pause_ns > 0:
            self._clock.sleep_ns(pause_ns)

    def _may_feed(self, now_ns: int) -> bool:
        """Start the feed once its subscribers are there, or after waiting long enough."""
        if self._is_feed_started:
            return True
        config = self._config
        waited_ns = self._clock.monotonic_ns() - self._opened_ns
        if len(self._subscribers) < config.wait_for_subscribers:
            if waited_ns < config.wait_ms_max * NS_PER_MS:
                return False
            self._process.log.warning(
                "feed_started_without_all", expected=config.wait_for_subscribers, joined=sorted(self._subscribers)
            )
        self._is_feed_started = True
        self._feed.start(now_ns)
        self._tell_connection(ConnectionState.CONNECTED, f"{config.feed} feed started")
        return True

    def _end_feed(self) -> None:
        self._is_feed_ended = True
        damage = self._feed.damage if isinstance(self._feed, RecordedFeed | StoreFeed) else None
        self._process.log.info("feed_ended", counters=self._feed.counters(), damage=damage)
        self._tell_connection(ConnectionState.ENDED, f"{self._config.feed} feed ended")

    def _tell_connection(self, state: ConnectionState, detail: str) -> None:
        self._publisher.publish(
            ConnectionChanged(
                **DRAFT,
                timestamp_ns=self._clock.now_ns(),
                exchange=self._feed.exchange,
                peer="replay" if isinstance(self._feed, StoreFeed) else "feed",
                state=state,
                detail=detail,
            )
        )

    def _answer_requests(self) -> None:
        for _ in range(REQUESTS_PER_TURN_MAX):
            taken = take_request(self._requests)
            if taken is None:
                return
            self._answer(*taken)

    def _answer(self, envelope: Envelope, frame: bytes) -> None:
        try:
            request = codec.decode(frame)
            if not isinstance(request, SnapshotRequested):
                raise WireError(WireFault.UNEXPECTED, f"snapshots: expected a snapshot request, was {request.topic()}")
        except WireError as error:
            error.frame = frame
            self._normaliser.counts[error.fault.value] += 1
            self._process.faults.report("snapshots", error, peer=envelope[0].hex())
            return
        self._subscribers.add(request.subscriber)
        values = self._normaliser.snapshot()
        reply = SnapshotReported(
            source=self._process.source,
            epoch=self._process.epoch,
            seq=0,
            timestamp_ns=self._clock.now_ns(),
            subscriber=request.subscriber,
            request_id=request.request_id,
            values=values,
        )
        answer(self._requests, envelope, codec.encode(reply))

    def _send_or_count(self, frame: bytes) -> None:
        # One frame waits up to a second, and a turn has many: without this a slow subscriber would look like our hang.
        self._process.beats.write_within_turn(self._clock.monotonic_ns())
        if not send_waiting(self._socket, frame):
            self._dropped += 1

    def _on_malformed(self, line_number: int, reason: str) -> None:
        self._malformed_logged += 1
        if self._malformed_logged <= MALFORMED_LOGGED_MAX:
            self._process.log.warning("line_skipped", line=line_number, reason=reason)


def make_feed(
    config: GatewayConfig,
    instruments: InstrumentTable,
    on_malformed: OnMalformed,
    store_config: StoreConfig | None = None,
) -> Feed:
    """The feed that the config names."""
    if config.feed == "store":
        return StoreFeed(config.store, store_config)
    if config.feed == "recorded":
        return RecordedFeed(config.recorded, on_malformed)
    exchange = config.synthetic.exchange
    return SyntheticFeed(config.synthetic, instruments.of_exchange(exchange))
