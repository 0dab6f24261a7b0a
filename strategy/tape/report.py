"""A diff as people read it."""

from collections import Counter
from pathlib import Path
from typing import Any

from common.tables import format_table, format_time
from strategy.tape.comparison import Difference, Input
from strategy.tape.diff import Diff, SessionDiff, Unknown
from strategy.tape.notes import CLOSED

# What every message has, or nobody reads.
_NOT_SHOWN = frozenset({"type", "epoch", "raw_symbol", "local_timestamp_ns", "correlation_id"})
TEXT_CHARACTERS_MAX = 60


def format_session(session: SessionDiff) -> str:
    """Each life, then the sum of several. The first difference is explained; of those behind it the place is told."""
    parts, is_explained = [], False
    for life in session.lives:
        if isinstance(life, Unknown):
            parts.append(f"{Path(life.tape).stem}: cannot be compared\n  {life.why}")
        else:
            parts.append(format_diff(life, is_brief=is_explained))
            is_explained |= life.comparison.difference is not None
    if len(parts) > 1:
        counts = Counter(life.result for life in session.lives)
        results = ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
        parts.append(f"{session.result}: {len(parts)} lives, {results}; {session.decisions} decisions are identical")
    return "\n".join(parts)


def format_diff(diff: Diff, *, is_brief: bool = False) -> str:
    """The result first, then what it rests on."""
    found = diff.comparison
    lines = [f"{diff.strategy}, epoch {diff.epoch}: {_result(diff)}"]
    if found.first_ns is not None and found.last_ns is not None:
        lines.append(f"  {format_time(found.first_ns)} to {format_time(found.last_ns)} UTC, {found.calls} calls")
    lines += [f"  {note}" for note in _notes(diff)]
    if found.difference is not None and not is_brief:
        lines += ["", _explain(found.difference), ""]
    return "\n".join(lines)


def _result(diff: Diff) -> str:
    found = diff.comparison
    if found.difference is None:
        return f"identical, {found.decisions} of {diff.decisions_live} decisions, byte for byte"
    return f"different at decision {found.difference.number}; the {found.decisions} before it are identical"


def _notes(diff: Diff) -> list[str]:
    found = diff.comparison
    notes = [
        "code: changed, the strategy's file is not the one of then" if diff.is_code_changed else "code: that of then",
        *(f"parameter {name}: {then!r} then, {now!r} now" for name, (then, now) in diff.parameters_changed.items()),
    ]
    if not diff.parameters_changed:
        notes.append("parameters: those of then")
    if diff.damage:
        notes.append(f"the tape is whole only so far: {diff.damage}")
    elif found.difference is None and found.ended is None:
        notes.append("the tape has no mark of its end: its process was killed or still runs; compared up to there")
    elif found.difference is None and found.ended != CLOSED:
        notes.append(f"the tape ended before the strategy did: {found.ended}")
    if found.failures_replayed or found.failures_live:
        text = f"callbacks that raised: {found.failures_live} then, {found.failures_replayed} now"
        notes.append(text if found.first_failure is None else f"{text}; the first: {found.first_failure}")
    return notes


def _explain(difference: Difference) -> str:
    *before, last = [_describe(call) for call in difference.inputs] or ["building the strategy"]
    parts = ["made in:", f"  {last}"]
    events = [text for call in difference.events if (text := _describe(call)) not in {*before, last}]
    for title, calls in (("just before:", before), ("newest events:", events)):
        if calls:
            parts += [title, *(f"  {text}" for text in calls)]
    if difference.position is not None:
        parts += ["position:", f"  {_fields(difference.position)}"]
    parts += [f"open order:\n  {_fields(order)}" for order in difference.open_orders]
    is_both = difference.live is not None and difference.replayed is not None
    if not is_both:
        missing = "then" if difference.live is None else "now"
        parts.append(f"no instruction {missing}; the other:")
    rows: list[dict[str, Any]] = [
        {
            "": "*" if is_both and field.is_different else " ",
            "field": field.name,
            "then": field.live,
            "now": field.replayed,
        }
        for field in difference.fields
        if field.name not in {"source", "epoch", "seq"}
    ]
    columns = [(name, lambda row, name=name: row[name]) for name in ("", "field", "then", "now")]
    return "\n".join([*parts, "", format_table(columns, rows)])


def _describe(call: Input) -> str:
    head = f"{format_time(call.now_ns)} {call.call}"
    return head if call.message is None else f"{head} {call.message.get('type')}: {_fields(call.message)}"


def _fields(fields: dict[str, Any]) -> str:
    shown = {name: value for name, value in fields.items() if name not in _NOT_SHOWN and value is not None}
    return " ".join(f"{name}={_short(value)}" for name, value in shown.items())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}..."
