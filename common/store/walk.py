"""Following the chain of a log from its first record to its last, and telling every place where it does not hold. Pure.

A format hands over its records in the order of their ids. A link that fails is explained by a hole that a `LogPruned`
event names, or is damage; either way the walk goes on from the digest that the record itself carries, so one change
is one damage.
"""

from collections import deque
from collections.abc import Iterable, Mapping

from common.events.system import LogHole, LogPruned
from common.store.chain import first_link, next_link
from common.store.contract import Damage, Verification

DAMAGES_MAX = 1_000  # then the rest is only counted: a log of which nothing holds must not fill memory


class Walk:
    """Goes over the records once. `markers` are the log's own `LogPruned` events by id, read beforehand."""

    def __init__(
        self,
        store_id: str,
        anchors: Iterable[tuple[int, str]],
        markers: Mapping[int, LogPruned],
        *,
        is_part: bool = False,
    ) -> None:
        """Begin before the first record.

        Args:
            store_id: The log's name.
            anchors: Ids with the digests that the chain had after them, in hex.
            markers: As of the class.
            is_part: Begin anywhere, and take the first record as it is.
        """
        self.records = 0
        self.last_id = 0
        self.notes: list[str] = []
        self._digest: bytes | None = None if is_part else first_link(store_id)
        self._digests_of: dict[int, set[str]] = {}
        for record_id, digest in anchors:
            self._digests_of.setdefault(record_id, set()).add(digest)
        self._anchored = deque(sorted(self._digests_of))
        self._anchored_id = self._anchored[-1] if self._anchored else 0
        self._markers = markers
        self._holes_after: dict[str, list[tuple[int, LogHole]]] = {}
        for marker_id, marker in markers.items():
            for hole in marker.holes:
                self._holes_after.setdefault(hole.digest_before, []).append((marker_id, hole))
        self._used_markers: dict[int, str] = {}
        self.bad_ids: set[int] = set()  # of records that do not follow the one before them
        self._damages: list[Damage] = []
        self._unlisted = 0
        self._is_in_damage = False
        self.lost: list[LogHole] = []
        self._check_anchors(0, first_link(store_id), first_link(store_id), "the beginning")

    @property
    def damages(self) -> list[Damage]:
        """What was found so far."""
        return self._damages

    @property
    def digest(self) -> bytes | None:
        """Where the chain stands; None behind something unreadable."""
        return self._digest

    def follow(self, record_id: int, content: bytes, digest: bytes) -> bool:
        """Go over one record that directly follows the one before it and has no anchor; else it is for `step`."""
        if (
            record_id <= self.last_id
            or self._digest is None
            or next_link(self._digest, content) != digest
            or (self._anchored and self._anchored[0] <= record_id)
        ):
            return False
        self._digest, self._is_in_damage = digest, False
        self.records += 1
        self.last_id = record_id
        return True

    def step(self, place: str, record_id: int, content: bytes, digest: bytes, expected: str = "") -> bool:
        """Go over one record: what its digest was made from, and the digest that it carries.

        Args:
            place: Where it stands.
            record_id: Its id.
            content: What its digest was made from.
            digest: The digest that it carries.
            expected: What is wrong if it does not follow the record before it, where the format knows better.

        Returns:
            True where it follows the record before it directly.
        """
        previous, self._digest = self._digest, digest
        follows = previous is not None and next_link(previous, content) == digest
        if record_id <= self.last_id:
            self.bad_ids.add(record_id)
            self.damage(place, f"expected an id above {self.last_id}, was {record_id}", record_id, record_id)
        elif previous is None or follows or self._is_over_hole(place, record_id, previous, content, digest):
            self._is_in_damage = False
        else:
            self._break(place, record_id, expected)
        self._check_anchors(record_id, previous or digest, digest, place)
        self.records += 1
        self.last_id = max(self.last_id, record_id)
        return follows

    def unreadable(self, place: str, what: str) -> None:
        """Go over something that is no record."""
        self.damage(place, what, self.last_id + 1, None)
        self._digest = None

    def damage(self, place: str, what: str, first_id: int | None = None, last_id: int | None = None) -> None:
        """Note a damage; what follows upon it directly belongs to it."""
        if self._is_in_damage and self._damages:
            last = self._damages[-1]
            self._damages[-1] = Damage(place=last.place, what=last.what, first_id=last.first_id, last_id=last_id)
            return
        self._is_in_damage = True
        if len(self._damages) < DAMAGES_MAX:
            self._damages.append(Damage(place=place, what=what, first_id=first_id, last_id=last_id))
        else:
            self._unlisted += 1

    def finish(self, end: str) -> Verification:
        """What was found; `end` is the place where the log ends."""
        if self._anchored and (missing := self._missing(self._anchored[-1] + 1)):
            what = (
                f"the log ends with record {self.last_id}, its anchor stands at {missing[-1]}: its end was cut, "
                "or an older copy restored"
            )
            if self._digest is not None:
                self._lose(missing[-1], self._digest)
            self.damage(end, what, self.last_id + 1, missing[-1])
        for marker_id, place in self._used_markers.items():
            # A removal begins only when its word is anchored, so an honest log never lacks that.
            is_unanchored = bool(self._anchored_id) and marker_id > self._anchored_id
            if marker_id in self.bad_ids or is_unanchored:
                self._is_in_damage = False
                why = "has no anchor" if is_unanchored else "is damaged itself"
                self.damage(place, f"records are missing, and record {marker_id}, which would explain it, {why}")
        if self._unlisted:
            self.notes.append(f"{self._unlisted} more damages are not listed")
        self.notes += [f"record {marker_id}: {describe(marker)}" for marker_id, marker in sorted(self._markers.items())]
        return Verification(records=self.records, last_id=self.last_id, damages=self._damages, notes=self.notes)

    def _is_over_hole(self, place: str, record_id: int, previous: bytes, content: bytes, digest: bytes) -> bool:
        """Tell whether holes lead from one record to the next: one, or several that retention made side by side."""
        reached, used = {previous.hex()}, set()
        todo = list(reached)
        while todo:
            for marker_id, hole in self._holes_after.get(todo.pop(), ()):
                if not self.last_id < hole.first_id <= hole.last_id < record_id or hole.digest_after in reached:
                    continue
                used.add(marker_id)
                if next_link(bytes.fromhex(hole.digest_after), content) == digest:
                    self._used_markers.update(dict.fromkeys(used, place))
                    return True
                reached.add(hole.digest_after)
                todo.append(hole.digest_after)
        return False

    def _break(self, place: str, record_id: int, expected: str) -> None:
        self.bad_ids.add(record_id)
        first_id = self.last_id + 1
        if expected:
            self.damage(place, expected, min(first_id, record_id), record_id)
        elif record_id > first_id:
            gone = (
                f"record {first_id} is" if record_id == first_id + 1 else f"records {first_id} to {record_id - 1} are"
            )
            self.damage(place, f"expected record {first_id}, was {record_id}: {gone} missing", first_id, record_id)
        else:
            what = f"record {record_id} is not what was written, or not in its place"
            self.damage(place, what, record_id, record_id)

    def _check_anchors(self, record_id: int, previous: bytes, digest: bytes, place: str) -> None:
        if not self._anchored or self._anchored[0] > record_id:
            return
        if missing := self._missing(record_id):
            what = f"expected record {missing[-1]}, which has an anchor, was {record_id}: the end was lost before this"
            self._lose(missing[-1], previous)
            self.damage(place, what, self.last_id + 1, missing[-1])
        if self._anchored and self._anchored[0] == record_id:
            anchored = self._digests_of[self._anchored.popleft()]
            if anchored != {digest.hex()}:
                self._is_in_damage = False
                what = f"record {record_id} or one before it was written anew: its anchor says otherwise"
                self.damage(place, what, None, record_id)
                self._is_in_damage = False

    def _lose(self, last_id: int, digest: bytes) -> None:
        """Put down a range that the chain does not miss, because it went on without it."""
        text = digest.hex()
        self.lost.append(LogHole(first_id=self.last_id + 1, last_id=last_id, digest_before=text, digest_after=text))

    def _missing(self, before_id: int) -> list[int]:
        """Ids with an anchor that did not come and that no hole covers."""
        missing: list[int] = []
        while self._anchored and self._anchored[0] < before_id:
            record_id = self._anchored.popleft()
            if record_id and not self._is_pruned(record_id):
                missing.append(record_id)
        return missing

    def _is_pruned(self, record_id: int) -> bool:
        return any(
            hole.first_id <= record_id <= hole.last_id for marker in self._markers.values() for hole in marker.holes
        )


def own_markers(found: Iterable[tuple[int, LogPruned]], store_id: str) -> dict[int, LogPruned]:
    """The events that speak of this log; those that came from another one with its records do not."""
    return {record_id: marker for record_id, marker in found if marker.store_id == store_id}


def describe(marker: LogPruned) -> str:
    """What a marker says, in a line."""
    spans = ", ".join(
        f"{hole.first_id}" if hole.first_id == hole.last_id else f"{hole.first_id} to {hole.last_id}"
        for hole in marker.holes[:5]
    )
    more = f" and {len(marker.holes) - 5} more ranges" if len(marker.holes) > 5 else ""
    count = sum(marker.records_of_type.values())
    return f"{marker.cause} took out {count} records, in {spans}{more}: {marker.detail}"
