"""Reading a folder of segments: by time, by id, from the end."""

import heapq
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from operator import le
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.events.registry import type_name
from common.events.system import LogPruned
from common.store.chain import first_link
from common.store.contract import Stats, StoreConfigError, StoreDamagedError
from common.store.jsonl.index import Block, read_summary
from common.store.jsonl.lines import Header
from common.store.jsonl.segments import (
    Filter,
    Listed,
    View,
    damaged,
    load,
    numbers_in,
    open_view,
    read_header,
    segment_path,
    sidecar_of,
    types_in,
)
from common.store.record import Record
from common.store.selection import TIME_NS_MIN, Selection
from common.store.walk import own_markers

if TYPE_CHECKING:
    from common.store.keyring import KeyRing

VIEWS_MAX = 16  # a segment's index is about 1 MB in memory
_MARKER_PREFIX = f"{type_name(LogPruned)}\t"
Key = tuple[int, int]


class Reader:
    """The segments of a folder, seen anew with every call."""

    def __init__(self, folder: Path, ring: "KeyRing | None" = None) -> None:
        """Look whether there is a store.

        Raises:
            StoreConfigError: There is none, or it is of a newer version.
        """
        self.folder = folder
        self._ring = ring
        self._listed: dict[Path, tuple[int, int, Listed]] = {}
        self._views: OrderedDict[Path, View] = OrderedDict()
        self._faulty: dict[int, StoreDamagedError] = {}
        self.store_id = self._find_store_id()

    def segments(self) -> list[Listed]:
        """What is there now, oldest first; those without a readable header are left out."""
        numbers = numbers_in(self.folder)
        listed = [self._list(number, is_last=number == numbers[-1]) for number in numbers]
        return [segment for segment in listed if segment is not None]

    def read(self, selection: Selection) -> Iterator[Record]:
        """Records by time, then id.

        Sources wait in a heap by their earliest record: a segment until its index is needed, a block until its records
        are. So only blocks that overlap in time are in memory together.
        """
        chosen = Filter(selection)
        heap = self._sources(chosen)
        pending: list[Record] = []
        while heap:
            first_ns, first_id, _, source = heapq.heappop(heap)
            end = bisect_left(pending, (first_ns, first_id), key=_key)
            yield from pending[:end]
            del pending[:end]
            if isinstance(source, StoreDamagedError):
                raise source
            if isinstance(source, Listed):
                view = self.view(source)
                for block in view.blocks:
                    if chosen.overlaps(block) or block.faults:
                        heapq.heappush(heap, (block.first_ns, block.first_id, 1, (view, block)))
                continue
            view, block = source
            records, error = self._load(view, block, chosen)
            # As it nearly always is, nothing waits: then sorting, a fifth of the time, can be spared.
            pending = records if not pending and _is_sorted(records) else sorted(pending + records, key=_key)
            if error is not None:
                yield from pending
                raise error
        yield from pending

    def get_events(self, from_id: int) -> Iterator[Record]:
        """Records by id."""
        before: Listed | None = None
        for segment in self.segments():
            if segment.summary.records and segment.summary.last_id >= from_id:
                if (gap := self._gap(before, segment)) is not None and segment.summary.first_id > from_id:
                    raise gap
                view = self.view(segment)
                for block in view.blocks:
                    if block.last_id >= from_id or block.faults:
                        records, error = self._load(view, block, None, from_id)
                        yield from records
                        if error is not None:
                            raise error
            before = segment
        if (error := self._end_error(before)) is not None:
            raise error

    def tail(self, count: int) -> list[Record]:
        """The newest records, oldest first."""
        found: list[Record] = []
        for segment in reversed(self.segments()):
            view = self.view(segment)
            for block in reversed(view.blocks):
                if len(found) >= count:
                    return found[len(found) - count :]
                records, error = self._load(view, block)
                if error is not None:
                    raise error
                found = records + found
        return found[max(0, len(found) - count) :]

    def stats(self) -> Stats:
        """What is there, from the indexes alone."""
        segments = self.segments()
        filled = [segment.summary for segment in segments if segment.summary.records]
        topics: dict[str, int] = {}
        for summary in filled:
            for topic, count in summary.topics.items():
                topics[topic] = topics.get(topic, 0) + count
        return Stats(
            format="jsonl",
            records=sum(summary.records for summary in filled),
            first_id=filled[0].first_id if filled else 0,
            last_id=filled[-1].last_id if filled else 0,
            first_ns=min((summary.first_ns for summary in filled), default=None),
            last_ns=max((summary.last_ns for summary in filled), default=None),
            size_bytes=sum(segment.summary.size for segment in segments),
            types=types_in(topics),
        )

    def view(self, segment: Listed) -> View:
        """A segment with its blocks.

        Raises:
            StoreDamagedError: It was removed meanwhile.
        """
        found = self._views.get(segment.path)
        if found is None or found.summary.size != segment.summary.size:
            try:
                found = open_view(segment.path, segment.header, is_last=True, older=found)
            except FileNotFoundError as error:
                raise StoreDamagedError(f"{segment.path}: was removed while it was read; read again") from error
            self._keep(found)
        return found

    def markers(self) -> dict[int, LogPruned]:
        """The log's own word of what was taken out of it, as far as it is readable."""
        found: list[tuple[int, LogPruned]] = []
        chosen = Filter(Selection(types=frozenset({LogPruned})))
        for segment in self.segments():
            if not any(topic.startswith(_MARKER_PREFIX) for topic in segment.summary.topics):
                continue
            view = self.view(segment)
            for block in view.blocks:
                if any(topic.startswith(_MARKER_PREFIX) for topic in block.topics):
                    records, _ = load(view, block, chosen, 0, lambda _: True, None)
                    found += [
                        (record.id, record.message) for record in records if isinstance(record.message, LogPruned)
                    ]
        return own_markers(found, self.store_id)

    def close(self) -> None:
        """Give the files back; those that an unfinished reading still needs go with it."""
        self._views.clear()
        self._listed.clear()

    def _load(
        self, view: View, block: Block, chosen: Filter | None = None, from_id: int = 0
    ) -> tuple[list[Record], StoreDamagedError | None]:
        return load(view, block, chosen, from_id, self._is_explained, self._ring)

    def _find_store_id(self) -> str:
        numbers = numbers_in(self.folder)
        error: StoreDamagedError | None = None
        for number in numbers:
            try:
                header = read_header(segment_path(self.folder, number))
            except StoreDamagedError as damage:
                error = error or damage
                continue
            if header is not None:
                return header.store_id
        raise StoreConfigError(
            f"store {self.folder}: expected segments of an event log, "
            + (f"but none has a header: {error}" if error else f"was {len(numbers)} files without one")
        )

    def _list(self, number: int, *, is_last: bool) -> Listed | None:
        path = segment_path(self.folder, number)
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        known = self._listed.get(path)
        if known is not None and known[:2] == (status.st_ino, status.st_size):
            return known[2]
        try:
            header = known[2].header if known is not None and known[0] == status.st_ino else read_header(path)
        except StoreDamagedError as error:
            self._faulty[number] = error
            return None
        if header is None:
            if not is_last:
                self._faulty[number] = damaged(str(path), "expected a segment, was an empty file")
            return None
        if (header.store_id, header.segment) != (self.store_id, number):
            self._faulty[number] = damaged(
                str(path), f"is segment {header.segment} of log {header.store_id}, not of this"
            )
            return None
        return self._remember(path, header, status.st_ino, status.st_size, is_last=is_last)

    def _remember(self, path: Path, header: Header, inode: int, size: int, *, is_last: bool) -> Listed | None:
        summary = None if is_last else read_summary(sidecar_of(path), size)
        if summary is None:
            try:
                view = open_view(path, header, is_last=is_last, older=self._views.get(path))
            except FileNotFoundError:
                return None
            self._keep(view)
            summary, size = view.summary, view.summary.size
        listed = Listed(path, header, summary)
        self._listed[path] = (inode, size, listed)
        return listed

    def _keep(self, view: View) -> None:
        self._views[view.path] = view
        self._views.move_to_end(view.path)
        while len(self._views) > VIEWS_MAX:
            self._views.popitem(last=False)

    def _sources(self, chosen: Filter) -> list[tuple[int, int, int, Any]]:
        heap: list[tuple[int, int, int, Any]] = []
        before: Listed | None = None
        for segment in self.segments():
            summary = segment.summary
            gap = self._gap(before, segment)
            if gap is not None:
                before_ns = before.summary.last_ns if before else TIME_NS_MIN
                begin_ns, end_ns = sorted((before_ns, summary.first_ns))
                if begin_ns < chosen.selection.to_ns and end_ns >= chosen.selection.from_ns:
                    heap.append((end_ns, summary.first_id, 0, gap))
            if summary.records and chosen.overlaps(summary):
                heap.append((summary.first_ns, summary.first_id, 1, segment))
            before = segment
        error = self._end_error(before)
        if error is not None and (before is None or before.summary.last_ns < chosen.selection.to_ns):
            heap.append((2**63, 0, 2, error))
        heapq.heapify(heap)
        return heap

    def _gap(self, before: Listed | None, segment: Listed) -> StoreDamagedError | None:
        """What is missing between two segments, if it was not taken out on purpose."""
        digest = before.summary.digest if before else first_link(self.store_id).hex()
        if segment.header.digest == digest or not segment.summary.records:
            return None
        if self._is_explained(segment.summary.first_id):
            return None
        number = int(before.path.stem) + 1 if before else 1
        if number in self._faulty:
            return self._faulty[number]
        if number < segment.header.segment:
            return damaged(str(segment_path(self.folder, number)), "expected a segment, it is missing")
        return damaged(f"{segment.path}:1", "does not follow the segment before it, whose end is missing or changed")

    def _end_error(self, last: Listed | None) -> StoreDamagedError | None:
        behind = [number for number in self._faulty if last is None or number > last.header.segment]
        return self._faulty[min(behind)] if behind else None

    def _is_explained(self, record_id: int) -> bool:
        return any(
            hole.first_id < record_id <= hole.last_id + 1 for marker in self.markers().values() for hole in marker.holes
        )


def _is_sorted(records: list[Record]) -> bool:
    times = [record.message.timestamp_ns for record in records]
    return all(map(le, times, islice(times, 1, None)))


def _key(record: Record) -> Key:
    return record.message.timestamp_ns, record.id
