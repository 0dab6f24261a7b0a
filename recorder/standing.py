"""Where each stream and the history stood when the log had `last_id`; what came behind it tells the log itself.

So a file that is behind, or gone, costs time at the next start and nothing else. One of another log is not used.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from common.events.system import GapFound, LogPruned
from common.store.contract import Store
from common.store.record import Record
from recorder.backfill import BACKFILLED_EPOCH, INSTRUCTIONS, Backfill, OpenGap
from recorder.streams import Numbers, Position


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a start has to know, as of one record. `newest` is that record's event id."""

    last_id: int
    newest: str
    positions: list[Position]
    history_seq: int
    history_ns: int
    unmatched: dict[bytes, list[int]]
    filled: list[bytes]
    open_gaps: list[OpenGap]
    totals: dict[str, int]


OFF_CHANNELS = INSTRUCTIONS | {LogPruned}  # records that no channel has brought

encode_standing = msgspec.msgpack.Encoder().encode


def read_standing(path: Path) -> Standing | None:
    """What was kept; None where it cannot be read, as after a loss of power."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Standing)
    except (OSError, msgspec.DecodeError):
        return None


def records_behind(standing: Standing | None, store: Store) -> tuple[Standing | None, Iterator[Record]]:
    """The standing, if it is of this log, and the records behind it; otherwise none, and all records."""
    if standing is not None and standing.last_id and standing.last_id <= store.last_id:
        records = store.get_events(standing.last_id)
        first = next(records, None)
        # A later one, or none: retention removed what it stood at.
        if first is None or first.id > standing.last_id or first.message.event_id() == standing.newest:
            return standing, store.get_events(standing.last_id + 1)
    return None, store.get_events(1)


def fold(record: Record, numbers: Numbers, backfill: Backfill) -> None:
    """Learn what one record says of where streams stood, and of what is not missing."""
    message = record.message
    backfill.fold(message, record.recorded_ns)
    is_on_a_channel = message.epoch != BACKFILLED_EPOCH and type(message) not in OFF_CHANNELS
    if is_on_a_channel or isinstance(message, GapFound):
        numbers.fold(message)
