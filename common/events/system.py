"""System domain: what processes say about themselves."""

import enum
from typing import Annotated, ClassVar, Literal

import msgspec

from common.events.base import Code, Command, Count, Event, EventId, Id, Name, Priority, Reply, Text, Word

TOPICS_PER_HEARTBEAT_MAX = 256
LOG_HOLES_MAX = 2_000  # 350 kB, a third of the largest frame

StreamName = Annotated[str, msgspec.Meta(min_length=1, max_length=160)]
TypeName = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
# Whoever answers with what has no JSON, such as infinity, could not be recorded.
Speed = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]


class ChannelHeartbeat(
    Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="System.Channel.Heartbeat.v1"
):
    """A publisher's last number per topic, sent while it is idle too, so that a lost last message is noticed.

    `sequences` holds at most 256 topics; a publisher with more takes them in turns.
    """

    kind: ClassVar[str] = "heartbeat"
    priority = Priority.LOW
    emitters = ("gateway", "executor", "exchange")

    role: Name
    channel: Name
    sequences: Annotated[dict[str, int], msgspec.Meta(max_length=TOPICS_PER_HEARTBEAT_MAX)]

    def topic(self) -> str:
        return f"{self.kind}.{self.role}.{self.channel}"


class ProcessState(enum.StrEnum):
    """The life of a process, as it reports it."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ProcessReported(Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="System.Process.Reported.v1"):
    """How a process is: sent on telemetry every half second, and kept as a file in the run directory.

    `turns` counts passes of the main loop: a process that hangs stops counting. `latencies` are HdrHistograms of
    nanoseconds in the library's own encoding, so that readers can merge them.
    """

    kind: ClassVar[str] = "process"
    priority = Priority.LOW
    emitters = ("every",)

    role: Name
    pid: Count
    state: ProcessState
    detail: Text
    started_ns: int
    turns: Count
    counters: dict[str, int]
    latencies: dict[str, bytes] = msgspec.field(default_factory=dict)
    endpoints: dict[str, str] = msgspec.field(default_factory=dict)

    def topic(self) -> str:
        return f"{self.kind}.{self.role}.{self.source}"


class ConnectionState(enum.StrEnum):
    """What became of a connection."""

    CONNECTED = "connected"
    LOST = "lost"  # it broke; whoever needs it tries again
    ENDED = "ended"  # it is over, as agreed: nothing more comes


class ConnectionChanged(Event, frozen=True, kw_only=True, tag="System.Connection.Changed.v2"):
    """A feed or venue was connected or lost, or has ended."""

    kind: ClassVar[str] = "connection"
    priority = Priority.HIGH
    emitters = ("gateway",)

    exchange: Name
    peer: Name
    state: ConnectionState
    detail: Text

    def topic(self) -> str:
        return f"{self.kind}.{self.exchange}.{self.peer}"


class ErrorRaised(Event, frozen=True, kw_only=True, tag="System.Error.Raised.v1"):
    """A process failed at something; where `is_fatal`, it ends and is started again."""

    kind: ClassVar[str] = "error_raised"
    priority = Priority.HIGH

    process: Word
    code: Code
    detail: Text
    is_fatal: bool
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.{self.process}.{self.code}"


class ProcessStarted(Event, frozen=True, kw_only=True, tag="System.Process.Started.v1"):
    """A process runs, from a new life on."""

    kind: ClassVar[str] = "process_started"
    priority = Priority.LOW

    role: Word
    process: Word
    pid: Count

    def topic(self) -> str:
        return f"{self.kind}.{self.role}.{self.process}"


class ProcessStopped(Event, frozen=True, kw_only=True, tag="System.Process.Stopped.v1"):
    """A process has ended; `exit_code` is absent where nobody could read it, and negative for the signal it died of."""

    kind: ClassVar[str] = "process_stopped"
    priority = Priority.LOW

    role: Word
    process: Word
    pid: Count
    exit_code: int | None = None
    detail: Text = ""

    def topic(self) -> str:
        return f"{self.kind}.{self.role}.{self.process}"


class ProcessHung(Event, frozen=True, kw_only=True, tag="System.Process.Hung.v1"):
    """A process runs, but its main loop does not turn: it gave no beat for `silent_ns`."""

    kind: ClassVar[str] = "process_hung"
    priority = Priority.HIGH

    role: Word
    process: Word
    pid: Count
    silent_ns: Count
    is_killed: bool

    def topic(self) -> str:
        return f"{self.kind}.{self.role}.{self.process}"


class MessageDeadLettered(Event, frozen=True, kw_only=True, tag="System.Message.DeadLettered.v1"):
    """A consumer gave a message up: it cannot be used, or every attempt failed. It is kept, to be looked at or retried.

    `cause_id` is that of the message given up.
    """

    kind: ClassVar[str] = "dead_letter"
    priority = Priority.HIGH

    consumer: Word
    failed_type: TypeName
    attempts: Count
    code: Code
    detail: Text
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.{self.consumer}.{self.code}"


class GapFound(Event, frozen=True, kw_only=True, tag="System.Log.GapFound.v1"):
    """Numbers of a stream that the event log does not have: all of them from `first_seq` to `last_seq`.

    Without `last_seq` nobody can tell where it ends, or whether anything is missing: a publisher's life ended while
    nobody recorded. `reason` is LOST_ON_CHANNEL, RECORDER_DOWN, BUFFER_FULL, DISK_FULL, or LATE for what had been
    back-filled before it came. With `is_recovered` a gap is told once more: what was missing now stands in the log,
    back-filled from a history.
    """

    kind: ClassVar[str] = "log_gap"
    priority = Priority.HIGH
    emitters = ("recorder",)

    channel: Word
    stream: StreamName
    publisher: Name
    publisher_epoch: Count
    first_seq: Count
    last_seq: Count | None = None
    reason: Code
    is_recovered: bool = False

    def topic(self) -> str:
        return f"{self.kind}.recorder.{self.channel}"


class BreakerOpened(Event, frozen=True, kw_only=True, tag="System.Breaker.Opened.v1"):
    """So many attempts in a row failed that `peer` is left alone for `pause_ns`. `owner` is who calls it."""

    kind: ClassVar[str] = "breaker_opened"
    priority = Priority.HIGH
    emitters = ("executor",)

    owner: Word
    peer: Word
    failures: Count
    pause_ns: Count
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.{self.owner}.{self.peer}"


class BreakerClosed(Event, frozen=True, kw_only=True, tag="System.Breaker.Closed.v1"):
    """`peer` answered again after the breaker of `owner` had been open: everything goes through as before."""

    kind: ClassVar[str] = "breaker_closed"
    priority = Priority.HIGH
    emitters = ("executor",)

    owner: Word
    peer: Word
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.{self.owner}.{self.peer}"


class ReplayAction(enum.StrEnum):
    """What a replay may be told."""

    PAUSE = "pause"
    RESUME = "resume"
    STEP = "step"
    SEEK = "seek"
    SPEED = "speed"
    STATUS = "status"


class ReplayState(enum.StrEnum):
    """What a replay does."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class ReplayControlRequested(Command, frozen=True, kw_only=True, tag="System.Replay.ControlRequested.v1"):
    """Tells a replay to hold, go on, let one event through, go elsewhere in the log, or change its speed.

    `seek` needs `seek_ns`, `speed` needs `speed`. Answered by `replay_answer`.
    """

    kind: ClassVar[str] = "replay_request"
    answer = "replay_answer"

    request_id: Id
    action: ReplayAction
    seek_ns: int | None = None
    speed: Speed | None = None

    def topic(self) -> str:
        return f"{self.kind}.replay.{self.action}"


class ReplayControlAnswered(Reply, frozen=True, kw_only=True, tag="System.Replay.ControlAnswered.v1"):
    """What came of a command to a replay, and where it stands. `reason` is an UPPER_CASE code where it was refused."""

    kind: ClassVar[str] = "replay_answer"
    emitters = ("gateway",)

    request_id: Id
    is_done: bool
    reason: Name | None = None
    detail: Text = ""
    state: ReplayState
    position_ns: int
    speed: Speed
    events: Count

    def topic(self) -> str:
        return f"{self.kind}.replay.all"


class LogHole(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Records that a log does not hold any more, and the digests of its chain around them.

    `digest_before` is that of the record before `first_id` that is kept, `digest_after` that of record `last_id`, as
    32 hex digits each.
    """

    first_id: Count
    last_id: Count
    digest_before: Digest
    digest_after: Digest


class LogPruned(Event, frozen=True, kw_only=True, tag="System.Log.Pruned.v1"):
    """Records were taken out of an event log: by retention, into quarantine, or because they are lost.

    A log with a hole that no such event names was tampered with. `records_of_type` counts what was taken out, as far as
    it could be read. It stands in the log that it speaks of, and one log takes no notice of another's.
    """

    kind: ClassVar[str] = "log_pruned"
    priority = Priority.HIGH

    store_id: Id
    cause: Literal["retention", "quarantine", "loss"]
    detail: Text
    records_of_type: Annotated[dict[TypeName, int], msgspec.Meta(max_length=1_000)]
    holes: Annotated[list[LogHole], msgspec.Meta(max_length=LOG_HOLES_MAX)]

    def topic(self) -> str:
        return f"{self.kind}.store.{self.store_id}"
