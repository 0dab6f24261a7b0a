"""Where the log is, and how much may wait for it."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]


class RetentionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[recorder.retention]`: what goes, as of `tickpulse store prune`. Nothing goes by default."""

    older_than: str = ""  # such as 90d: market data and telemetry above this age
    size_max: str = ""  # such as 500GB: the oldest of them, until the log is no larger
    types: dict[str, str] = {}  # ages of types of their own, such as { tick = "7d" }
    interval_s: Positive = 3_600  # looked at after a start, and then so often


class RecorderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[recorder]`. How the log itself is kept is `[store]`."""

    store: str = "jsonl:store"  # FORMAT:PATH; a path that is not absolute begins at the run directory
    buffer_bytes_max: Positive = 256 << 20  # frames that wait for the disk: 10 s of 100 k messages/s
    gather_ms: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50  # what comes within it is one batch: fewer wake-ups
    flush_interval_ms: Positive = 1_000  # between two fsyncs: what power loss may take
    retry_ms: Positive = 500  # after the disk refused
    nice: Annotated[int, msgspec.Meta(ge=0, le=19)] = 10  # trading has the processor first
    # How long after a fact of the executor's journal its events may still be on their way. Then they are filled in.
    history_grace_ms: Positive = 1_000
    retention: RetentionConfig = RetentionConfig()
