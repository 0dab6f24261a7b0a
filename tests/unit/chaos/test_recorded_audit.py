from collections.abc import Iterable

import msgspec
import pytest
from support.message_builders import EPOCH, NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message

from chaos.drills.recorded import audit_facts, audit_log, audit_ticks
from common.events.base import DRAFT, Message
from common.events.system import GapFound
from common.events.trading import OrderFilled
from common.history import Recorded
from common.store.memory import MemoryStore


def make_gap(first_seq: int, last_seq: int | None) -> GapFound:
    """Ticks that are missing."""
    return GapFound(
        source="recorder",
        epoch=1,
        seq=1,
        timestamp_ns=1,
        channel="market",
        stream="tick.simulated.BTC/USDT",
        publisher="gateway",
        publisher_epoch=EPOCH,
        first_seq=first_seq,
        last_seq=last_seq,
        reason="RECORDER_DOWN",
    )


def make_log(messages: Iterable[Message]) -> MemoryStore:
    """A log of these."""
    store = MemoryStore()
    store.append_batch(list(messages), NOW_NS)
    return store


WHOLE = [make_gap(1, 2), make_tick(3), make_ticks(6, 3), make_gap(7, 7), make_tick(8), make_gap(9, None)]


class OneFact:
    """A history of one fact, which an event tells of."""

    event = msgspec.structs.replace(sample_message(OrderFilled), **DRAFT)

    def last_seq(self) -> int:
        """Its number."""
        return 1

    def read(self, after_seq: int, count_max: int) -> list[Recorded]:
        """It."""
        return [Recorded(seq=1, timestamp_ns=NOW_NS, kind="answer", body={}, events=[self.event])]

    def close(self) -> None:
        """Nothing is open."""


def test_log_that_accounts_for_every_number_is_sound() -> None:
    """Recorded, or in a gap; behind one without an end nothing is known."""
    store = make_log(WHOLE)

    assert [*audit_log(store), *audit_ticks(store, 8)] == []


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_number_that_is_neither_recorded_nor_in_a_gap_is_seen(missing: int) -> None:
    """A witness that never says anything would let everything pass."""
    store = make_log(WHOLE[:missing] + WHOLE[missing + 1 :])

    assert [*audit_log(store)]
    assert [*audit_ticks(store, 8)]


def test_number_that_is_accounted_for_twice_is_seen() -> None:
    """Recorded and in a gap, or recorded twice."""
    assert [*audit_log(make_log([*WHOLE, make_gap(8, 8)]))]
    assert [*audit_log(make_log([*WHOLE, make_tick(8)]))]


@pytest.mark.parametrize(("count", "is_sound"), [(0, False), (1, True), (2, False)])
def test_fact_has_to_stand_in_the_log_once(count: int, is_sound: bool) -> None:
    """Whether it was heard or filled in."""
    sent = [msgspec.structs.replace(OneFact.event, source="executor", epoch=7, seq=seq) for seq in (1, 2)]

    found = [*audit_facts(make_log(sent[:count]), OneFact())]

    assert (found == []) is is_sound
