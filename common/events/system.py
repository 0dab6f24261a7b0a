"""System domain: what processes say about themselves."""

import enum
from typing import Annotated, ClassVar

import msgspec

from common.events.base import Count, Event, Name, Priority, Text

TOPICS_PER_HEARTBEAT_MAX = 256


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


class ConnectionChanged(
    Event, frozen=True, gc=False, omit_defaults=True, kw_only=True, tag="System.Connection.Changed.v1"
):
    """A feed or venue was connected, lost or has ended."""

    kind: ClassVar[str] = "connection"
    priority = Priority.HIGH
    emitters = ("gateway",)

    exchange: Name
    peer: Name
    is_connected: bool
    detail: Text

    def topic(self) -> str:
        return f"{self.kind}.{self.exchange}.{self.peer}"
