"""Going over every byte of a store, and taking what is damaged out of it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from common.events.base import Message
from common.events.system import LogHole, LogPruned
from common.store.anchors import conclude, examine_anchors
from common.store.chain import first_link, next_link
from common.store.config import StoreConfig
from common.store.contract import CannotVerifyError, StoreConfigError, StoreDamagedError, Verification
from common.store.jsonl.index import fits, read_blocks, read_summary, summarise
from common.store.jsonl.lines import Header, Parts, recorded_ns_of, split_line
from common.store.jsonl.reading import Reader
from common.store.jsonl.segments import (
    numbers_in,
    open_view,
    quarantine_of,
    read_header,
    segment_path,
    sidecar_of,
    types_in,
)
from common.store.jsonl.writer import Writer
from common.store.quarantine import Note, keep, notes_in
from common.store.retention import markers_of
from common.store.walk import Walk


def verify(reader: Reader, config: StoreConfig) -> Verification:
    """Compare all of it with its chain and its anchors.

    Raises:
        CannotVerifyError: A file or an anchor cannot be read, or there are no anchors, and nothing else is wrong.
    """
    return Check(reader, config).run()


class Check:
    """One pass over a store."""

    def __init__(self, reader: Reader, config: StoreConfig) -> None:
        self._folder = reader.folder
        self._store_id = reader.store_id
        # Anchors first: a writer that goes on meanwhile is then ahead of them, never behind.
        anchors, damages, self._doubt = examine_anchors(reader.folder, config, reader.store_id)
        self.walk = Walk(reader.store_id, [(anchor.last_id, anchor.digest) for anchor in anchors], reader.markers())
        for damage in damages:
            self.walk.damage(damage.place, damage.what)
        self._recorded_ns = 0
        self._clock_places: list[str] = []

    def run(self) -> Verification:
        """Go over it; as `verify`."""
        end = str(self._folder)
        try:
            numbers = numbers_in(self._folder)
            for number, before in zip(numbers, [0, *numbers], strict=False):
                end = self._go_over(number, before, is_last=number == numbers[-1])
        except (OSError, StoreConfigError) as error:
            self._doubt = self._doubt or CannotVerifyError(str(error))
        if self._clock_places:
            self.walk.notes.append(
                f"the clock went back {len(self._clock_places)} times, first at {self._clock_places[0]}"
            )
        self.walk.notes += map(str, notes_in(quarantine_of(self._folder)))
        return conclude(self.walk.finish(end), self._doubt)

    def _go_over(self, number: int, before: int, *, is_last: bool) -> str:
        """Go over one segment; where it ends."""
        path = segment_path(self._folder, number)
        header, wrong = _header_of(path, self._store_id, number)
        if header is None and not wrong:
            if is_last:
                return f"{path}:1"  # a crash while it was begun: there is nothing in it
            wrong = "expected a segment, was an empty file"
        if wrong:
            self.walk.damage(f"{path}:1", wrong)
        expected = ""
        if number != before + 1:
            expected = f"expected segment {segment_path(self._folder, before + 1).name} before this one, it is missing"
        elif header is not None and self.walk.digest is not None and header.digest != self.walk.digest.hex():
            expected = "does not follow the segment before it: its end, or this header, is not what was written"
        number_of_lines = self._go_over_lines(path, expected, header, is_last=is_last)
        if expected and number_of_lines == 1:
            self.walk.damage(f"{path}:1", expected)
        if not self.walk.damages and header is not None and not _index_fits(path):
            what = "the index says other than the segment: a range read may miss records; remove it, it is built anew"
            self.walk.damage(str(sidecar_of(path)), what)
        return f"{path}:{number_of_lines}"

    def _go_over_lines(self, path: Path, expected: str, header: Header | None, *, is_last: bool) -> int:
        """Go over what is behind the header; how many lines there are."""
        number = 1
        for number, line in enumerate(_lines_of(path), 1):
            if number == 1:
                continue
            parts = split_line(line[:-1]) if line.endswith(b"\n") else None
            if expected or parts is None or not self.walk.follow(*parts):
                self._line(f"{path}:{number}", line, expected, header, is_last=is_last)
                expected = ""
            if parts is not None:
                self._watch_clock(parts, path, number)
        return number

    def _line(self, place: str, line: bytes, expected: str, header: Header | None, *, is_last: bool) -> None:
        is_torn = not line.endswith(b"\n")
        if is_torn and is_last:
            self.walk.notes.append(f"{place}: a line is half written: the writer is at it, or a crash was")
            return
        parts = None if is_torn else split_line(line[:-1])
        if parts is None:
            self.walk.unreadable(place, "expected a record, was something else")
            return
        before = self.walk.digest
        follows = self.walk.step(place, *parts, expected=expected)
        if expected and follows and header is not None and before is not None and header.digest != before.hex():
            self.walk.damage(f"{place.rpartition(':')[0]}:1", "the header is not what was written")

    def _watch_clock(self, parts: Parts, path: Path, line_number: int) -> None:
        try:
            recorded_ns = recorded_ns_of(parts.content)
        except ValueError:
            return  # then the line does not follow either
        if recorded_ns < self._recorded_ns:
            self._clock_places.append(f"{path}:{line_number}")
        self._recorded_ns = recorded_ns


class _Kept(NamedTuple):
    """A segment in which everything follows."""

    number: int
    first: Parts
    last_id: int
    last_digest: bytes
    header: Header


def repair(reader: Reader, writer: Writer, config: StoreConfig, now_ns: int) -> list[str]:
    """Move segments with damages into quarantine and put the holes down in the log; what was done, in words.

    Records that were written anew as a whole cannot be told from good ones here: an anchor says so, and goes on to.
    """
    check = Check(reader, config)
    check.run()
    markers = reader.markers()
    bad = {number: wrong for number in numbers_in(reader.folder) if (wrong := _wrong_in(reader, number, markers))}
    if writer.number in bad:
        writer.begin_segment()
    done, counts = [], Counter[str]()
    notes: list[tuple[Path, Note]] = []
    for number, wrong in bad.items():
        path = segment_path(reader.folder, number)
        counts.update(_types_of(path))
        note = Note(file=f"{path.name}.{now_ns}", why=wrong, moved_ns=now_ns, bytes=path.stat().st_size)
        notes.append((path, note))
        done.append(f"moved {path.name} to quarantine/{note.file}: {wrong}")
    holes = [*_holes_between(reader, writer, markers, set(bad)), *check.walk.lost]
    lost_markers = [marker for marker_id, marker in markers.items() if _is_in(reader, marker_id, set(bad))]
    holes += [hole for marker in lost_markers for hole in marker.holes]
    if holes:
        cause = "quarantine" if bad else "loss"
        detail = ", ".join(path.name for path, _ in notes) if bad else "records that an anchor or a segment knew of"
        events: list[Message] = list(
            markers_of(holes, counts, store_id=reader.store_id, cause=cause, detail=detail, now_ns=now_ns)
        )
        writer.write_batch(writer.last_id + 1, now_ns, events)
        done.append(f"recorded {len(holes)} ranges of missing records")
    writer.flush()
    for number in set(numbers_in(reader.folder)) - set(bad) - {writer.number}:
        path = segment_path(reader.folder, number)
        if not _index_fits(path):
            sidecar_of(path).unlink()
            done.append(f"removed {sidecar_of(path).name}, which did not fit; it is built anew")
    for path, note in notes:
        keep(quarantine_of(reader.folder), path, note)
        path.unlink()
        sidecar_of(path).unlink(missing_ok=True)
    reader.close()
    return done


def _index_fits(path: Path) -> bool:
    """Tell whether a sidecar, where there is one that would be used, hides nothing."""
    blocks = read_blocks(sidecar_of(path)) or []
    with path.open("rb") as file:
        for block in blocks:
            file.seek(block.offset)
            data = file.read(block.length)
            if block.faults or len(data) < block.length:
                return True  # then it is not believed
            if not fits(block, data):
                return False
    summary = read_summary(sidecar_of(path), path.stat().st_size)
    return summary is None or summary == summarise(blocks, summary.size, summary.digest)


def _header_of(path: Path, store_id: str, number: int) -> tuple[Header | None, str]:
    """The header of a segment, or what is wrong with it."""
    try:
        header = read_header(path)
    except StoreDamagedError as error:
        return None, str(error).partition(":1: ")[2]
    if header is not None and (header.store_id, header.segment) != (store_id, number):
        return None, f"is segment {header.segment} of log {header.store_id}, not of this one"
    return header, ""


def _wrong_in(reader: Reader, number: int, markers: Mapping[int, LogPruned]) -> str:
    """The first thing that is wrong within a segment, whatever is before it; empty where nothing is."""
    path = segment_path(reader.folder, number)
    header, wrong = _header_of(path, reader.store_id, number)
    if wrong or header is None:
        return wrong or "an empty file"
    walk = Walk(reader.store_id, (), markers, is_part=True)
    for line_number, line in enumerate(_lines_of(path), 1):
        if line_number == 1:
            continue
        parts = split_line(line[:-1]) if line.endswith(b"\n") else None
        if parts is None:
            return f"line {line_number} is no record"
        walk.step(f"line {line_number}", *parts)
        if line_number == 2 and not _links(header, parts, markers):
            return "line 2 does not follow the header"
    damages = walk.finish("").damages
    return f"{damages[0].place}: {damages[0].what}" if damages else ""


def _links(header: Header, first: Parts, markers: Mapping[int, LogPruned]) -> bool:
    return _before(header, first, markers) is not None


def _before(header: Header, first: Parts, markers: Mapping[int, LogPruned]) -> bytes | None:
    """Where the chain stood before a segment's first record: as the header says, or behind a hole."""
    known = [header.digest, *(hole.digest_after for marker in markers.values() for hole in marker.holes)]
    for digest in known:
        if next_link(bytes.fromhex(digest), first.content) == first.digest:
            return bytes.fromhex(digest)
    return None


def _holes_between(
    reader: Reader, writer: Writer, markers: Mapping[int, LogPruned], bad: set[int]
) -> Iterator[LogHole]:
    """What will be missing between the segments that stay, as far as no hole says it yet."""
    digest, last_id = first_link(reader.store_id), 0
    known = {(hole.digest_before, hole.digest_after) for marker in markers.values() for hole in marker.holes}
    for number in numbers_in(reader.folder):
        if number in bad:
            continue
        path = segment_path(reader.folder, number)
        header, _ = _header_of(path, reader.store_id, number)
        first, last = _ends_of(path)
        before = (
            None
            if header is None
            else bytes.fromhex(header.digest)
            if first is None
            else _before(header, first, markers)
        )
        if before is None:
            continue
        end_id = first.id - 1 if first is not None else writer.last_id
        if before != digest and (digest.hex(), before.hex()) not in known:
            yield LogHole(first_id=last_id + 1, last_id=end_id, digest_before=digest.hex(), digest_after=before.hex())
        if last is not None:
            digest, last_id = last.digest, last.id


def _ends_of(path: Path) -> tuple[Parts | None, Parts | None]:
    first: Parts | None = None
    last: Parts | None = None
    for line_number, line in enumerate(_lines_of(path), 1):
        if line_number > 1 and line.endswith(b"\n"):
            last = split_line(line[:-1])
            first = first or last
    return first, last


def _types_of(path: Path) -> dict[str, int]:
    """Records by type of a segment, as far as it can be read."""
    try:
        header = read_header(path)
    except StoreDamagedError:
        return {}
    if header is None:
        return {}
    known = types_in(open_view(path, header, is_last=True).summary.topics)
    return {name: count for name, count in known.items() if 0 < len(name) <= 80}


def _is_in(reader: Reader, record_id: int, numbers: set[int]) -> bool:
    return any(
        segment.header.segment in numbers and segment.summary.first_id <= record_id <= segment.summary.last_id
        for segment in reader.segments()
    )


def _lines_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
