"""The recorder's sockets, files and loop. What is missing is decided in `streams` and `backfill`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from common.clock import NS_PER_MS
from common.errors import FatalError
from common.events.base import DRAFT, Message
from common.events.risk import AlarmRaised, Severity
from common.events.system import GapFound
from common.history import Position, open_history
from common.metrics import Latency
from common.process import Process
from common.run_directory import replace_file
from common.sockets.transfer import Waiter, drain, offer
from common.store.address import Address, open_store, parse_address
from common.store.config import StoreConfig
from common.store.contract import StoreDamagedError
from recorder.backfill import Backfill
from recorder.buffer import Buffer
from recorder.config import RecorderConfig
from recorder.follower import Follower, HistoryReplacedError
from recorder.intake import Intake
from recorder.joining import Joining
from recorder.retention import Retention
from recorder.standing import Standing, encode_standing, fold, read_standing, records_behind
from recorder.stepping_back import step_back
from recorder.streams import GapReason
from recorder.totals import Totals
from recorder.writer import Pruned, Writer

STANDING_NAME = "recorder.standing"
CHANNELS = ("market", "events", "executions", "workers")  # and `records`, which we bind
EVERYTHING = b""
FRAMES_PER_TURN_MAX = 20_000
FOLDED_PER_BEAT = 2_000  # some 20 ms
PRUNED_BELOW = 8  # the share of the buffer that may be in use
REPAIR_LOOK_NS = 50 * NS_PER_MS
CONNECT_NS = 200 * NS_PER_MS  # by then a monitor that is there hears us
STOP_LISTEN_NS = 200 * NS_PER_MS  # what was sent before a stop has arrived by then


class Job(msgspec.Struct, frozen=True, gc=False):
    """What is being written: messages, when they came, and the gaps among them as frames to be told."""

    messages: Sequence[Message]
    recorded_ns: int
    frames: Sequence[bytes]


class RecorderService:
    """Takes what comes, writes it in batches, and goes along the executor's history behind it."""

    def __init__(self, process: Process, config: RecorderConfig, store_config: StoreConfig) -> None:
        self._process = process
        self._config = config
        self._store_config = store_config
        self._clock = process.clock
        self._counts: Counter[str] = Counter()
        self._job: Job | None = None
        self._is_flushing = False
        self._is_refused = False
        self._is_standing_old = False
        self._newest = ""
        self._retry_ns = 0
        self._next_flush_ns = 0
        self._heard_until_ns = 0
        self._damage = ""  # that was found at the start, until it is told
        self._stop_ns = 0
        self._stop_seq: int | None = None

    def open(self) -> None:
        """Open the log, learn from it where everything stood, then listen."""
        process = self._process
        self._retention = Retention(self._config.retention)
        self._address = self._find_address()
        self._alarms = process.telemetry()
        step_back(self._config.nice)  # after the sockets' own threads have begun
        process.endpoints["store"] = str(self._address)
        self._store = open_store(str(self._address), self._store_config, is_writer=True)
        self._writer = Writer(self._store)
        try:
            self._restore()
        except StoreDamagedError as error:
            self._repair(error)
            self._restore()
        self._buffer = Buffer(self._config.buffer_bytes_max, self._intake.locate)
        sockets = process.sockets
        self._gap_socket = sockets.connect_publisher(process.endpoint("telemetry"))
        self._frames: list[bytes] = []
        self._gaps = process.publisher("telemetry", self._frames.append)
        self._sockets = {"records": sockets.bind_puller(process.endpoint("records"))}
        for channel in CHANNELS:
            self._sockets[channel] = sockets.connect_subscriber(process.endpoint(channel), [EVERYTHING])
        self._waiter = Waiter(*self._sockets.values())
        self._joining = Joining(process)
        self._heard_from_ns = self._clock.monotonic_ns() + CONNECT_NS

    def turn(self, timeout_ms: int) -> None:
        """Take what has come, then have the next of what waits written."""
        self._receive(timeout_ms)
        if self._damage and self._clock.monotonic_ns() >= self._heard_from_ns:
            self._alarm("LOG_DAMAGED", self._damage)
            self._damage = ""
        self._joining.look(self._intake.heard, self._clock.monotonic_ns())
        if self._writer.is_busy:
            self._take_outcome()
        if not self._writer.is_busy:
            self._begin_next()

    def readiness(self) -> str | None:
        """Ready once the gateway knows that we listen."""
        return None if self._joining.is_joined else "the gateway's snapshot"

    def counters(self) -> dict[str, int]:
        """What is in the log, what is not, and what waits."""
        numbers, backfill, follower = self._intake.numbers, self._backfill, self._follower
        return {
            **self._counts,
            **self._totals.counts,
            **self._intake.counts,
            "duplicates": numbers.duplicates,
            "numbers_untracked": numbers.untracked,
            "backfilled": backfill.backfilled,
            "instructions": backfill.instructions,
            "late": backfill.late,
            "history_unreadable": backfill.unreadable,
            "history_seq": follower.seq,
            "history_behind": follower.behind,
            "history_faults": follower.faults,
            "buffer_bytes": self._buffer.size_bytes,
            "buffer_bytes_highest": self._buffer.size_bytes_highest,
            "frames_dropped": self._buffer.frames_dropped,
        }

    def latencies(self) -> Mapping[str, Latency]:
        """Nothing is measured across processes here."""
        return {}

    def begin_stop(self) -> None:
        """Write what has come by now, and what the history tells by now."""
        self._stop_ns = self._clock.monotonic_ns()

    def is_settled(self) -> bool:
        """Tell whether all of it is on the disk."""
        if self._clock.monotonic_ns() - self._stop_ns < STOP_LISTEN_NS:
            return False
        if self._stop_seq is None:
            self._stop_seq = self._follower.last_seq()
        is_written = not (self._writer.is_busy or self._job or len(self._buffer) or self._is_standing_old)
        return is_written and (self._follower.seq >= self._stop_seq or self._follower.faults > 0)

    def close(self) -> None:
        """Close the log."""
        if hasattr(self, "_writer"):
            self._writer.close()
        if hasattr(self, "_follower"):
            self._follower.close()

    def _find_address(self) -> Address:
        address = parse_address(self._config.store)
        return Address(address.format, self._process.run_directory.path / address.path)

    # What was before

    def _repair(self, error: StoreDamagedError) -> None:
        """Move what is damaged into quarantine, so that the log goes on, and have a person look at it.

        Raises:
            StoreConfigError: A log of this format cannot be repaired; begin another one.
        """
        self._writer.repair(self._clock.now_ns())
        while (done := self._writer.outcome()) is None:
            self._process.beats.write_within_turn(self._clock.monotonic_ns())
            self._clock.sleep_ns(REPAIR_LOOK_NS)
        if not isinstance(done, list):
            raise FatalError(f"log {self._address}: expected to repair it, {done}; it is damaged: {error}")
        self._counts["log_repairs"] += 1
        self._damage = f"{error}; {'; '.join(done) or 'nothing to repair'}"

    def _restore(self) -> None:
        """Take up where the log stands: from what was kept, and from the records behind that."""
        process = self._process
        self._totals = Totals()
        self._standing_path = process.run_directory.file("state", STANDING_NAME)
        standing, records = records_behind(read_standing(self._standing_path), self._store)
        self._backfill = Backfill()
        if standing is not None:
            self._backfill.unmatched.update(standing.unmatched)
            self._backfill.filled.update(dict.fromkeys(standing.filled))
            self._backfill.open_gaps.extend(standing.open_gaps)
            self._totals.take_up(standing.totals)
        self._intake = Intake([] if standing is None else standing.positions, self._backfill, process.faults.report)
        floor_ns = folded = 0
        while group := list(islice(records, FOLDED_PER_BEAT)):
            if standing is None and not folded and group[0].id > 1:
                floor_ns = group[0].recorded_ns
            for record in group:
                fold(record, self._intake.numbers, self._backfill)
            self._totals.add(record.message for record in group)
            folded += len(group)
            process.beats.write_within_turn(self._clock.monotonic_ns())
        self._counts["records_folded"] = folded
        self._counts["last_id"] = self._counts["flushed_id"] = self._store.last_id
        self._follower = Follower(
            lambda: open_history("executor", process.run_directory.file("state", "")),
            Position() if standing is None else Position(standing.history_seq, standing.history_ns),
            self._backfill,
            process.log,
            grace_ns=self._config.history_grace_ms * NS_PER_MS,
            floor_ns=floor_ns,
        )

    # What comes

    def _receive(self, timeout_ms: int) -> None:
        is_working = len(self._buffer) > 0 or self._writer.is_busy
        if self._waiter.wait(1 if is_working else timeout_ms) and not len(self._buffer):
            self._clock.sleep_ns(self._config.gather_ms * NS_PER_MS)
        now_ns = self._clock.now_ns()
        groups: list[tuple[str, list[bytes]]] = []
        is_exhausted = True
        for channel, socket in self._sockets.items():
            frames: list[bytes] = []
            is_exhausted &= drain(socket, frames.append, FRAMES_PER_TURN_MAX) < FRAMES_PER_TURN_MAX
            if frames:
                groups.append((channel, frames))
                self._counts["received"] += len(frames)
        if groups:
            reason = GapReason.DISK_FULL if self._is_refused else GapReason.BUFFER_FULL
            self._buffer.add(now_ns, groups, reason.value)
        if is_exhausted:
            self._heard_until_ns = now_ns

    # What is written

    def _begin_next(self) -> None:
        """Hand the writer its next work: what was refused, a flush that is due, what waits, or what the log lacks."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._retry_ns:
            return
        if self._job is None and self._is_standing_old and (now_ns >= self._next_flush_ns or self._is_ending()):
            self._is_flushing = True
            self._writer.flush()
            return
        if self._job is None and self._can_wait() and (policy := self._retention.due(now_ns)) is not None:
            self._writer.prune(policy, self._clock.now_ns())
            return
        if self._job is None:
            self._job = self._make_job()
        if self._job is not None:
            self._writer.write(self._job.messages, self._job.recorded_ns)

    def _can_wait(self) -> bool:
        """Tell whether the buffer has the room for what comes while the log is pruned."""
        return not self._stop_ns and self._buffer.size_bytes <= self._config.buffer_bytes_max // PRUNED_BELOW

    def _is_ending(self) -> bool:
        return self._stop_ns > 0 and not len(self._buffer)

    def _make_job(self) -> Job | None:
        now_ns = self._clock.now_ns()
        item = self._buffer.take()
        messages: list[Message] = []
        gaps: list[GapFound] = []
        if item is not None:
            messages, gaps = self._intake.read(item), self._intake.gaps
        if not len(self._buffer):
            filled = self._look_into_history(now_ns)
            messages += filled
            gaps += [message for message in filled if isinstance(message, GapFound)]
        for gap in gaps:
            self._gaps.publish(gap)
        frames, self._frames[:] = [*self._frames], []
        return Job(messages, now_ns if item is None else item.recorded_ns, frames) if messages else None

    def _look_into_history(self, now_ns: int) -> Sequence[Message]:
        try:
            return self._follower.look(self._heard_until_ns, now_ns)
        except HistoryReplacedError:
            self._standing_path.unlink(missing_ok=True)  # the next life compares all of it with all of the log
            raise

    def _take_outcome(self) -> None:
        outcome = self._writer.outcome()
        if outcome is None:
            return
        if isinstance(outcome, Pruned):
            self._on_pruned(outcome)
            return
        if outcome is not True:
            self._on_refusal(outcome)
            return
        if self._is_refused:
            self._is_refused = False
            self._process.log.info("disk_takes_again", last_id=self._writer.last_id)
        if self._is_flushing:
            self._is_flushing = False
            self._next_flush_ns = self._clock.monotonic_ns() + self._config.flush_interval_ms * NS_PER_MS
            self._counts["flushed_id"] = self._writer.last_id
            self._save_standing()
        elif self._job is not None:
            self._on_written(self._job)
            self._job = None

    def _on_written(self, job: Job) -> None:
        self._is_standing_old = True
        self._newest = job.messages[-1].event_id()
        self._counts["last_id"] = self._writer.last_id
        self._counts["recorded"] += len(job.messages)
        self._totals.add(job.messages)
        for frame in job.frames:
            offer(self._gap_socket, frame)

    def _on_refusal(self, refusal: object) -> None:
        """The disk is full or fails: what was refused is tried again, what comes waits in the buffer."""
        self._counts["disk_refusals"] += 1
        self._is_flushing = False
        self._retry_ns = self._clock.monotonic_ns() + self._config.retry_ms * NS_PER_MS
        if not self._is_refused:
            self._is_refused = True
            self._process.log.error("disk_refuses", store=str(self._address), reason=str(refusal))

    def _on_pruned(self, pruned: Pruned) -> None:
        """A step of retention is done, or could not be."""
        now_ns, pruning = self._clock.monotonic_ns(), pruned.pruning
        if pruned.markers:
            self._is_standing_old = True
            self._newest = pruned.markers[-1].event_id()
            self._counts["last_id"] = self._writer.last_id
            self._totals.add(pruned.markers)
        if pruning is None:
            self._retention.postpone(now_ns)
            self._counts["retention_refused"] += 1
            self._alarm("LOG_NOT_PRUNED", pruned.refusal)
            return
        self._retention.note(pruning, now_ns)
        if pruning.records:
            self._counts["retention_records"] += pruning.records
            self._process.log.info("log_pruned", records=pruning.records_of_type, parts=pruning.parts)

    def _alarm(self, code: str, detail: str) -> None:
        """Tell the people on call: the log needs one of them, trading does not."""
        self._counts["alarms"] += 1
        self._process.log.error(code.lower(), store=str(self._address), detail=detail)
        self._alarms.publish(
            AlarmRaised(
                **DRAFT,
                timestamp_ns=self._clock.now_ns(),
                code=code,
                severity=Severity.WARNING,
                subject=self._process.source,
                detail=detail[:500],
            )
        )

    def _save_standing(self) -> None:
        """Keep where everything stands: nothing is under way, so it is exactly what the log holds."""
        self._is_standing_old = False
        backfill = self._backfill
        standing = Standing(
            last_id=self._writer.last_id,
            newest=self._newest,
            positions=self._intake.numbers.positions(),
            history_seq=self._follower.seq,
            history_ns=self._follower.timestamp_ns,
            unmatched=backfill.unmatched,
            filled=list(backfill.filled),
            open_gaps=backfill.open_gaps,
            totals=self._totals.counts,
        )
        try:
            replace_file(self._standing_path, encode_standing(standing))
        except OSError as error:
            self._counts["standing_unsaved"] += 1  # the next start reads more of the log
            self._process.log.warning("standing_unsaved", reason=str(error))
