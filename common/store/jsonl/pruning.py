"""Removing what retention lets go: whole segments, or lines of them."""

import os
from collections import Counter
from collections.abc import Iterator

from common.events.system import LogHole
from common.store.chain import first_link
from common.store.contract import StoreDamagedError
from common.store.jsonl.lines import decode_head, split_line
from common.store.jsonl.reading import Reader
from common.store.jsonl.segments import Listed, open_view, sidecar_of, types_in, write_sidecar
from common.store.jsonl.writer import Writer
from common.store.retention import Cut, Link, Part, Policy, Pruning, describe, holes_in, markers_of, plan


def prune(reader: Reader, writer: Writer | None, policy: Policy, now_ns: int) -> Pruning:
    """Remove what a policy lets go, or tell what it would be where there is no writer.

    The log says first what goes, then it goes. A crash in between leaves more than it says, and the next pruning, which
    finds the same, takes it.

    Raises:
        StoreDamagedError: A segment that has to be thinned is damaged; repair it first.
    """
    segments = reader.segments()
    cuts = {cut.name: cut for cut in plan([_part(segment) for segment in segments], policy, now_ns)}
    counts: Counter[str] = Counter()
    size = 0
    holes = list(_find_holes(reader, segments, cuts, counts))
    touched = [segment for segment in segments if segment.path.name in cuts]
    for segment in touched:
        size += segment.summary.size if cuts[segment.path.name].is_whole else 0
    pruning = Pruning(records_of_type=dict(counts), parts=[segment.path.name for segment in touched], size_bytes=size)
    if writer is None or not counts:
        return pruning
    events = list(
        markers_of(holes, counts, store_id=reader.store_id, cause="retention", detail=describe(policy), now_ns=now_ns)
    )
    writer.write_batch(writer.last_id + 1, now_ns, events)
    writer.flush()
    for segment in touched:
        _apply(segment, cuts[segment.path.name])
    return pruning


def _part(segment: Listed) -> Part:
    summary = segment.summary
    return Part(
        name=segment.path.name,
        size_bytes=summary.size,
        first_ns=summary.first_ns,
        last_ns=summary.last_ns,
        records_of_type=types_in(summary.topics),
    )


def _find_holes(
    reader: Reader, segments: list[Listed], cuts: dict[str, Cut], counts: Counter[str]
) -> Iterator[LogHole]:
    """The ranges that go, with the digests around them; counts what goes."""
    digest, last_id = first_link(reader.store_id).hex(), 0
    for position, segment in enumerate(segments):
        cut = cuts.get(segment.path.name)
        if cut is not None:
            behind = [later.summary.first_id for later in segments[position + 1 :] if later.summary.records]
            end_id = behind[0] if behind else segment.summary.last_id + 1
            links = (link for _, link in _lines_of(segment, cut))
            yield from holes_in(links, digest, last_id, end_id, counts)
        if segment.summary.records:
            digest, last_id = segment.summary.digest, segment.summary.last_id


def _lines_of(segment: Listed, cut: Cut) -> Iterator[tuple[bytes, Link]]:
    """The records of a segment, and whether each goes."""
    with segment.path.open("rb") as file:
        file.readline()
        for number, line in enumerate(file, 2):
            parts = split_line(line[:-1])
            if parts is None:
                raise StoreDamagedError(
                    f"{segment.path}:{number}: expected a record, was something else; `tickpulse store repair` first"
                )
            head = decode_head(line)
            yield line, Link(parts.id, parts.digest, head.type, cut.takes(head.type, head.timestamp_ns))


def _apply(segment: Listed, cut: Cut) -> None:
    """Take the lines out; a reader sees the old or the new file."""
    path = segment.path
    if cut.is_whole:
        path.unlink()
        sidecar_of(path).unlink(missing_ok=True)
        return
    new = path.with_name(f"{path.name}.new")
    with path.open("rb") as old, new.open("wb") as file:
        file.write(old.readline())
        for line, link in _lines_of(segment, cut):
            if not link.is_taken:
                file.write(line)
        file.flush()
        os.fsync(file.fileno())
    sidecar_of(path).unlink(missing_ok=True)
    new.replace(path)
    write_sidecar(open_view(path, segment.header, is_last=False))
