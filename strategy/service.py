"""The strategy process's sockets and loop. What to do is decided in `engine`."""

from collections.abc import Mapping

import msgspec

from common.clock import NS_PER_MS
from common.crash_points import crash_point
from common.events.base import Message
from common.events.market import Tick
from common.metrics import Latency
from common.process import Process
from common.sockets.market import MarketChannel
from common.sockets.transfer import Waiter, drain, offer
from common.wire.seal import seal
from common.wire.subscriber import Subscriber
from strategy.base import Strategy
from strategy.config import StrategyConfig
from strategy.engine import Engine
from strategy.outbox_store import SqliteOutboxStore
from strategy.tape.file import TapeFile, make_head, remove_old_tapes, tape_path
from strategy.tape.taped_engine import TapedEngine

FRAMES_PER_TURN_MAX = 1_000
HOUSEKEEPING_NS = 5 * NS_PER_MS
ASK_AGAIN_NS = 100 * NS_PER_MS
EVENT_KINDS = ("signal_acknowledged.*.*", "order_*.*.*", "position_*.*.*")


class StrategyService:
    """Moves frames between the sockets and the engine."""

    def __init__(
        self, process: Process, config: StrategyConfig, strategy_type: type[Strategy], parameters: msgspec.Struct
    ) -> None:
        self._process = process
        self._config = config
        self._strategy_type = strategy_type
        self._parameters = parameters
        self._store: SqliteOutboxStore | None = None
        self._clock = process.clock
        self._is_stopping = False
        self._has_waiting_frames = False
        self._state_asked_ns = 0
        self._next_housekeeping_ns = 0
        self._breaks_seen = 0
        self._send_refused = 0
        self._tape: TapeFile | None = None

    def open(self) -> None:
        """Open the outbox, then connect to gateway and executor, in whatever order they start."""
        process, name = self._process, self._process.source
        self._store = SqliteOutboxStore(
            process.run_directory.file("state", f"{name}.outbox.sqlite"), process.settings.run.synchronous
        )
        kinds = ("tick", "trade")
        self._market = MarketChannel(
            process.sockets,
            market_endpoint=process.endpoint("market"),
            snapshots_endpoint=process.endpoint("snapshots"),
            patterns=[f"{kind}.{pattern}" for pattern in self._config.instruments for kind in kinds],
            name=name,
            epoch=process.epoch,
            clock=self._clock,
            log=process.log,
            faults=process.faults,
        )
        self._engine = self._build_engine(self._store)
        if isinstance(self._engine, TapedEngine):
            self._tape = self._begin_tape(self._engine)
        self._event_stream = Subscriber(
            [*EVENT_KINDS, f"state_reported.executor.{name}"], on_fault=process.faults.on("events")
        )
        self._events = process.sockets.connect_subscriber(process.endpoint("events"), self._event_stream.prefixes())
        self._pusher = process.sockets.connect_pusher(process.endpoint("signals"))
        self._signals = process.publisher("signals", self._send)
        self._waiter = Waiter(self._market.socket, self._market.snapshot_socket, self._events)
        self._waiter_without_market = Waiter(self._market.snapshot_socket, self._events)

    def turn(self, timeout_ms: int) -> None:
        """Events first, so that a strategy decides on its newest position; then the market; then time."""
        # Ticks wait in the socket until the snapshot is taken and the executor has told where the strategy stands.
        takes_market = self._engine.is_started or self._market.is_listening
        waiter = self._waiter if takes_market else self._waiter_without_market
        ready = waiter.wait(0 if self._has_waiting_frames else timeout_ms)
        if self._events in ready:
            drain(self._events, self._on_event_frame, FRAMES_PER_TURN_MAX)
        if self._engine.is_started or not self._market.is_joined:
            count = self._market.drain(self._on_market, self._on_snapshot, FRAMES_PER_TURN_MAX)
            self._has_waiting_frames = count == FRAMES_PER_TURN_MAX
        now_ns = self._clock.now_ns()
        if self._engine.has_new_outgoing:
            self._flush(now_ns)
        # Timers, resends and questions count in ms: no need to look at each of 10 k wake-ups a second.
        if now_ns >= self._next_housekeeping_ns:
            self._next_housekeeping_ns = now_ns + HOUSEKEEPING_NS
            self._engine.on_time(now_ns)
            self._flush(now_ns)
            self._ask_for_state(now_ns)
            if self._tape is not None:
                self._tape.write()
        elif self._tape is not None and self._tape.is_due:
            self._tape.write()

    def readiness(self) -> str | None:
        """Ready when the snapshot is taken and the executor has told positions and open orders."""
        if not self._market.is_joined:
            return "the gateway's snapshot"
        return None if self._engine.is_started else "the executor's report of positions and open orders"

    def counters(self) -> dict[str, int]:
        """Counters of the engine and of the channels."""
        events = {f"events_{name}": count for name, count in self._event_stream.counters().items()}
        return {
            **self._engine.counters(),
            **self._market.counters(),
            **events,
            "sends_refused": self._send_refused,
            "is_halted": int(self._engine.halt_reason is not None),
            "tape_bytes": 0 if self._tape is None else self._tape.bytes_written,
            "tapes_ended": int(self._tape is not None and self._tape.is_ended),
        }

    def latencies(self) -> Mapping[str, Latency]:
        """None here: the executor measures the whole path."""
        return {}

    def begin_stop(self) -> None:
        """Take what is already there, then let the strategy say its last word."""
        self._is_stopping = True

    def is_settled(self) -> bool:
        """The strategy was stopped after the last tick that waited, and every signal has its end."""
        if self._has_waiting_frames:
            return False
        now_ns = self._clock.now_ns()
        if not self._engine.is_stopped:
            self._engine.stop(now_ns)
            self._flush(now_ns)
        return self._engine.is_settled

    def close(self) -> None:
        """Give tape and outbox back."""
        if self._tape is not None:
            self._tape.close()
        if self._store is not None:
            self._store.close()

    def _build_engine(self, store: SqliteOutboxStore) -> Engine:
        process = self._process
        engine_type = TapedEngine if self._config.tape else Engine
        return engine_type(
            name=process.source,
            epoch=process.epoch,
            config=self._config,
            instruments=process.config.instruments(),
            strategy_type=self._strategy_type,
            parameters=self._parameters,
            store=store,
            market_position=self._market.subscriber.positions,
            on_failure=self._on_failure,
            on_warning=process.log.warning,
        )

    def _begin_tape(self, engine: TapedEngine) -> TapeFile:
        process, now_ns = self._process, self._clock.now_ns()
        state_directory = process.run_directory.path / "state"
        path = tape_path(state_directory, engine.name, engine.epoch)
        remove_old_tapes(state_directory, engine.name, self._config.tapes_kept, process.log)
        head = make_head(engine, self._config, self._parameters, now_ns)
        return TapeFile(path, engine, head, self._config.tape_bytes_max, process.log)

    def _on_market(self, message: Message) -> None:
        now_ns = self._clock.now_ns()
        self._engine.on_market(message, now_ns)
        if self._engine.has_new_outgoing:
            self._flush(now_ns)

    def _on_snapshot(self, tick: Tick) -> None:
        self._engine.on_snapshot(tick, self._clock.now_ns())

    def _on_event_frame(self, frame: bytes) -> None:
        message = self._event_stream.accept(frame)
        if message is not None:
            self._engine.on_event(message, self._clock.now_ns())

    def _send(self, frame: bytes) -> None:
        crash_point("strategy.signal.sending")
        # Without an executor there is nobody to queue for; the outbox sends again.
        if not offer(self._pusher, seal(frame)):
            self._send_refused += 1
        crash_point("strategy.signal.sent")

    def _flush(self, now_ns: int) -> None:
        for message in self._engine.take_outgoing(now_ns):
            self._signals.publish(message)

    def _ask_for_state(self, now_ns: int) -> None:
        """Ask at the start, and when events were lost or the executor was restarted; until the answer is there."""
        stream = self._event_stream
        breaks = stream.lost + stream.counts["epoch_changes"]
        is_known = self._engine.is_state_known and breaks == self._breaks_seen
        if is_known or (self._is_stopping and self._engine.is_settled):
            return
        if now_ns - self._state_asked_ns >= ASK_AGAIN_NS:
            self._state_asked_ns = now_ns
            self._breaks_seen = breaks
            stream.forget_lost_tails()
            self._signals.publish(self._engine.request_state(now_ns))

    def _on_failure(self, callback_name: str, error: Exception) -> None:
        failed = self._engine.counts["callbacks_failed"]
        # The first ten in full, then each hundredth: a strategy that fails on every tick must not fill the disk.
        if failed <= 10 or failed % 100 == 0:
            self._process.log.error(
                "callback_failed", callback=callback_name, error=f"{type(error).__name__}: {error}", exc_info=error
            )
        if self._engine.halt_reason is not None:
            self._process.log.error("strategy_halted", reason=self._engine.halt_reason)
