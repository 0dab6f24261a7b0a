"""What may be removed from a log, and what never is. Pure.

A log always keeps what a restart or an audit begins from:

- Its newest part (the segment that is written) stays whole.
- What decides about orders and money stays (`KEPT_DOMAINS`), until a policy names the type itself.
- `LogPruned` events stay for ever: they prove that a hole was meant.

So age and size remove market data and telemetry, and with an order its cause can still be told from its own fields.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from common.errors import InvalidValueError
from common.events.base import Message
from common.events.registry import TYPES_BY_NAME, type_name
from common.events.system import LOG_HOLES_MAX, LogHole, LogPruned
from common.store.selection import TIME_NS_MIN, types_named
from common.store.times import parse_duration_ns

KEPT_DOMAINS = ("Trading.", "Venue.", "Portfolio.", "Risk.", "Challenge.", "Evaluation.", "Auth.")
_MARKER = type_name(LogPruned)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What goes: everything older than an age (ns), the oldest above a size, and types with ages of their own."""

    older_than_ns: int | None = None
    size_bytes_max: int | None = None
    ages_ns: Mapping[str, int] = {}
    parts_max: int | None = None  # at a time: the oldest, for whoever has other work to do

    @property
    def is_empty(self) -> bool:
        """Tell whether it asks for nothing."""
        return self.older_than_ns is None and self.size_bytes_max is None and not self.ages_ns


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file or partition of a log: what retention must know of it. `records_of_type` is by type name."""

    name: str
    size_bytes: int
    first_ns: int
    last_ns: int
    records_of_type: Mapping[str, int]


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What goes of one part: of each type named, all records before a time, ns."""

    name: str
    before_ns: Mapping[str, int]
    is_whole: bool  # nothing of it stays

    def takes(self, name: str, timestamp_ns: int) -> bool:
        """Tell whether a record goes."""
        return timestamp_ns < self.before_ns.get(name, TIME_NS_MIN)


class Link(NamedTuple):
    """A record as its place in the chain has it, and whether it goes."""

    id: int
    digest: bytes
    type: str
    is_taken: bool


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, or would be."""

    records_of_type: dict[str, int]
    parts: list[str]
    size_bytes: int  # of what was removed; of parts that are only thinned, their share by count

    @property
    def records(self) -> int:
        """How many records."""
        return sum(self.records_of_type.values())


def parse_policy(older_than: str | None, size_max: str | None, type_ages: Iterable[str]) -> Policy:
    """A policy as people type it: `30d`, `10GB`, `tick=7d`.

    Raises:
        InvalidValueError: One of them cannot be read.
    """
    ages: dict[str, int] = {}
    for text in type_ages:
        pattern, equals, age = text.partition("=")
        if not equals:
            raise InvalidValueError(f"type {text!r}: expected TYPE=AGE, such as tick=7d")
        for message_type in types_named([pattern]):
            ages[type_name(message_type)] = parse_duration_ns(age)
    return Policy(
        older_than_ns=None if older_than is None else parse_duration_ns(older_than),
        size_bytes_max=None if size_max is None else parse_size(size_max),
        ages_ns=ages,
    )


def parse_size(text: str) -> int:
    """Bytes as people type them: 500MB, 10GB, 2GiB.

    Raises:
        InvalidValueError: It is no size.
    """
    number = text.strip().rstrip("kKMGTiB")
    unit = text.strip()[len(number) :]
    scale: int | None = _SIZE_UNITS.get(unit.upper().replace("I", "i"))
    if scale is None or not number.strip().isascii() or not number.strip().isdigit():
        raise InvalidValueError(f"size {text!r}: expected a whole number with kB, MB, GB, TB, MiB or GiB, such as 10GB")
    return int(number) * scale


_SIZE_UNITS: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1_000**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}iB": 1_024**power for power, prefix in enumerate("KMGT", 1)},
}


def plan(parts: list[Part], policy: Policy, now_ns: int) -> list[Cut]:
    """What goes of each part but the last, oldest first; parts of which nothing goes are not named."""
    excess = 0
    if policy.size_bytes_max is not None:
        excess = max(0, sum(part.size_bytes for part in parts) - policy.size_bytes_max)
    cuts: list[Cut] = []
    for part in parts[:-1]:
        before_ns: dict[str, int] = {}
        for name in part.records_of_type:
            bound = _bound_of(name, policy, now_ns, is_excess=excess > 0, end_ns=part.last_ns + 1)
            if bound is not None and part.first_ns < bound:
                before_ns[name] = bound
        if before_ns:
            cuts.append(
                Cut(
                    name=part.name,
                    before_ns=before_ns,
                    is_whole=all(before_ns.get(name, TIME_NS_MIN) > part.last_ns for name in part.records_of_type),
                )
            )
        excess -= _share(part, cuts[-1]) if cuts and cuts[-1].name == part.name else 0
    return cuts[: policy.parts_max]


def _bound_of(name: str, policy: Policy, now_ns: int, *, is_excess: bool, end_ns: int) -> int | None:
    if name == _MARKER:
        return None
    bounds: list[int] = []
    if name in policy.ages_ns:
        bounds.append(now_ns - policy.ages_ns[name])
    elif not name.startswith(KEPT_DOMAINS):
        if policy.older_than_ns is not None:
            bounds.append(now_ns - policy.older_than_ns)
        if is_excess:
            bounds.append(end_ns)
    return max(bounds, default=None)


def _share(part: Part, cut: Cut) -> int:
    gone = sum(
        count for name, count in part.records_of_type.items() if cut.before_ns.get(name, TIME_NS_MIN) > part.last_ns
    )
    return part.size_bytes * gone // max(1, sum(part.records_of_type.values()))


def holes_in(links: Iterable[Link], digest: str, last_id: int, end_id: int, counts: Counter[str]) -> Iterator[LogHole]:
    """The ranges that go of one part, with the digests around them; counts what goes.

    No range reaches over the end of a part: whatever of them a crash leaves undone, the rest explains what is done.

    Args:
        links: The part's records, by id.
        digest: Where the chain stood before the part, in hex.
        last_id: The id of the record before the part.
        end_id: The id of the record behind it.
        counts: Takes the number of records that go, by type.
    """
    taken: Link | None = None
    for link in links:
        if link.is_taken:
            counts[link.type] += 1
            taken = link
            continue
        if taken is not None:
            yield _hole(last_id, link.id, digest, taken)
            taken = None
        digest, last_id = link.digest.hex(), link.id
    if taken is not None:
        yield _hole(last_id, end_id, digest, taken)


def _hole(last_id: int, next_id: int, digest: str, taken: Link) -> LogHole:
    return LogHole(first_id=last_id + 1, last_id=next_id - 1, digest_before=digest, digest_after=taken.digest.hex())


def describe(policy: Policy) -> str:
    """What a policy takes, in a line."""
    words = []
    if policy.older_than_ns is not None:
        words.append(f"older than {policy.older_than_ns / 1e9:g} s")
    if policy.size_bytes_max is not None:
        words.append(f"beyond {policy.size_bytes_max} bytes")
    words += [f"{name} older than {age_ns / 1e9:g} s" for name, age_ns in sorted(policy.ages_ns.items())]
    return ", ".join(words)


def markers_of(
    holes: list[LogHole], records_of_type: Mapping[str, int], *, store_id: str, cause: str, detail: str, now_ns: int
) -> Iterator[Message]:
    """The events that tell of holes, each with as many as it may hold; the first has the counts."""
    counts = dict(sorted(Counter(records_of_type).items()))
    for number, start in enumerate(range(0, max(1, len(holes)), LOG_HOLES_MAX)):
        yield msgspec.convert(
            {
                "source": "store",
                "epoch": now_ns // 1_000_000,
                "seq": number + 1,
                "timestamp_ns": now_ns,
                "type": _MARKER,
                "store_id": store_id,
                "cause": cause,
                "detail": detail[:500],
                "records_of_type": counts if number == 0 else {},
                "holes": holes[start : start + LOG_HOLES_MAX],
            },
            TYPES_BY_NAME[_MARKER],
            from_attributes=True,
        )
