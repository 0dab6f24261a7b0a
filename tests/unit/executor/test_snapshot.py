"""A snapshot and the entries behind it give the same book and events; one that is wrong is passed over."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.executor_builders import (
    ExecutorHarness,
    MemoryJournal,
    contents,
    make_amend_request,
    make_denial,
    make_intent,
    make_report,
    recall_all,
    refold,
)
from support.executor_histories import World

from common.events.base import Message
from common.events.risk import AlarmRaised, TradingState
from common.events.venue import AnswerOutcome
from common.ids import make_client_order_id
from executor.book import Book
from executor.digest import digest_of_bytes
from executor.entries import AmendIntended, Entry, ExecutionTaken, OrderAnswerTaken, TradingStateMoved
from executor.snapshot import VERSION, Snapshot, SnapshotError, restore_book, take_snapshot

CUT_SEEDS = range(6)
STORY: list[Entry] = [
    make_intent("s-1-1"),
    ExecutionTaken(1, make_report(1, "s-1-1", quantity="1"), make_report(1).price),
    make_denial("s-1-2"),
    make_intent("s-1-3", limit_price="100.10", quantity="0.50"),
    OrderAnswerTaken(timestamp_ns=2, client_order_id=make_client_order_id("s-1-3"), outcome=AnswerOutcome.ACCEPTED),
    ExecutionTaken(3, make_report(2, "s-1-3", quantity="0.2", price="100.1")),
    AmendIntended(4, make_client_order_id("s-1-3"), make_amend_request("s-1-4", "s-1-3"), Decimal(2), Decimal(101)),
    TradingStateMoved(timestamp_ns=5, scope="strategy:s", state=TradingState.HALTED, by="jane", reason="looks odd"),
]


def history_of(seed: int) -> list[Entry]:
    """The journal of a random history: fills, cancels, amendments, halts, conflicts, restarts."""
    world = World(seed)
    world.play()
    world.end()
    return world.life.journal.entries


def everything(book: Book, entries: Sequence[Entry]) -> tuple[object, ...]:
    """All that a book knows: what is open and the sums digit by digit, and what has ended."""
    state = take_snapshot(book)
    return state, contents(recall_all(book, entries))


def apply_all(book: Book, entries: Sequence[Entry], ended_max: int | None = None) -> list[list[Message]]:
    """The events of each entry; forgetting on the way, if told to."""
    events = []
    for entry in entries:
        events.append(book.apply(entry))
        if ended_max is not None:
            book.memory.forget(ended_max)
    return events


@pytest.mark.parametrize("seed", CUT_SEEDS)
def test_snapshot_at_any_entry_and_the_tail_give_the_same_book_and_events(seed: int) -> None:
    """Equal in every digit, wherever the history is cut."""
    entries = history_of(seed)
    whole = Book()
    events = apply_all(whole, entries)
    expected = everything(whole, entries)
    growing, archive = Book(), MemoryJournal(entries)

    for cut in range(len(entries) + 1):
        continued = restore_book(take_snapshot(growing), archive)
        assert apply_all(continued, entries[cut:]) == events[cut:]
        assert everything(continued, entries) == expected
        apply_all(growing, entries[cut : cut + 1])


@pytest.mark.parametrize("seed", CUT_SEEDS)
@pytest.mark.parametrize("ended_max", [0, 1, 7])
def test_nobody_can_tell_what_was_forgotten(seed: int, ended_max: int) -> None:
    """However little is held, the same entries give the same events and the same book."""
    entries = history_of(seed)
    whole, forgetful = Book(), Book(MemoryJournal(entries))

    assert apply_all(forgetful, entries, ended_max) == apply_all(whole, entries)

    working = len(forgetful.working_orders())
    assert len(forgetful.orders) <= working + ended_max
    assert everything(forgetful, entries) == everything(whole, entries)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(min_value=100), cuts=st.lists(st.integers(min_value=0), min_size=1, max_size=4))
def test_lives_that_end_anywhere_add_up_to_one(seed: int, cuts: list[int]) -> None:
    """Snapshot upon snapshot, forgetting all the while."""
    entries = history_of(seed)
    book, at = Book(MemoryJournal(entries)), 0

    for cut in sorted(each % (len(entries) + 1) for each in cuts):
        apply_all(book, entries[at:cut], ended_max=0)
        book, at = restore_book(take_snapshot(book), MemoryJournal(entries)), cut
    apply_all(book, entries[at:])

    assert everything(book, entries) == everything(refold(entries), entries)


def test_restored_book_writes_the_same_snapshot() -> None:
    """Nothing is lost on the way there and back."""
    snapshot = take_snapshot(refold(history_of(1)))

    assert take_snapshot(restore_book(snapshot)) == snapshot


def test_what_prices_have_shown_is_kept_and_balances_are_asked_for_anew() -> None:
    """The highest equity since the last fill is in no entry; what the venue's account holds may have changed."""
    harness = ExecutorHarness()
    harness.have_working()
    harness.fill(quantity="1", leaves_quantity="0", filled_quantity="1")
    exposure = harness.book.exposure
    exposure.mark_all(lambda _: Decimal(200), harness.now_ns)
    exposure.take_balances({"USDT": exposure.total.equity})

    restored = restore_book(take_snapshot(harness.book), harness.journal).exposure

    assert restored.total == exposure.total
    assert restored.total.peak_equity > 0
    assert exposure.balance("USDT") is not None
    assert restored.balance("USDT") is None


def test_same_entries_give_the_same_snapshot_in_every_version() -> None:
    """If this fails the fold has changed: raise VERSION in executor/snapshot.py, then put the new digest here."""
    snapshot = take_snapshot(refold(STORY))

    assert (VERSION, digest_of_bytes(snapshot.body)) == (1, "4c755e15a9ce1f4c4ef587843b38a0a3")


# What is wrong with one


def changed(snapshot: Snapshot, **fields: object) -> Snapshot:
    """A snapshot with another body under a checksum that fits."""
    body = msgspec.msgpack.encode({**msgspec.msgpack.decode(snapshot.body, strict=False), **fields})
    return Snapshot(snapshot.seq, body, digest_of_bytes(b"%d\0%b" % (snapshot.seq, body)))


def make_snapshot() -> Snapshot:
    """One of a book with a single refusal."""
    return take_snapshot(refold([make_denial("mine-1-1")]))


SPOILT: dict[str, tuple[Callable[[Snapshot], Snapshot], str]] = {
    "flipped bit": (
        lambda each: Snapshot(each.seq, each.body[:-1] + bytes([each.body[-1] ^ 1]), each.checksum),
        "expected the body that its checksum is of",
    ),
    "other number": (lambda each: Snapshot(each.seq + 1, each.body, each.checksum), "expected the body that its"),
    "no body": (lambda each: Snapshot(each.seq, b"", ""), "expected the body that its checksum is of"),
    "other version": (lambda each: changed(each, version=0), f"expected version {VERSION}, was 0"),
    "further field": (lambda each: changed(each, mood="fine"), "expected the state of a book"),
    "wrong type": (lambda each: changed(each, positions=7), "expected the state of a book"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_snapshot_is_refused_and_says_why(name: str) -> None:
    """It is no book."""
    spoil, message = SPOILT[name]

    with pytest.raises(SnapshotError, match=message):
        restore_book(spoil(make_snapshot()))


def lives_through(harness: ExecutorHarness, count: int) -> None:
    """So many orders are filled; each makes three entries."""
    for _ in range(count):
        number = len(harness.journal.entries)
        harness.have_working(f"mine-1-{number + 1}", strategy="mine", expires_ns=harness.now_ns * 2)
        harness.fill(f"mine-1-{number + 1}", quantity="1", leaves_quantity="0", filled_quantity="1")
        harness.executor.rest(is_idle=True)


def make_life(**config: int) -> ExecutorHarness:
    """An executor that has recovered."""
    harness = ExecutorHarness(**config)
    harness.recover()
    return harness


def test_start_folds_only_what_came_behind_the_newest_snapshot() -> None:
    """So its length does not depend on the journal's."""
    life = make_life(snapshot_interval_entries=10)
    lives_through(life, 21)

    next_life = life.restarted()

    assert len(life.journal.entries) == 63
    assert (life.count("snapshots_kept"), life.journal.kept[-1].seq) == (5, 60)
    assert next_life.count("journal_entries_replayed") == 3
    assert everything(next_life.book, life.journal.entries) == everything(life.book, life.journal.entries)


def test_orderly_stop_leaves_nothing_to_fold() -> None:
    """And nothing is written where nothing has happened since."""
    life = make_life()
    lives_through(life, 2)

    life.executor.begin_stop()
    life.executor.begin_stop()

    assert life.count("snapshots_kept") == 1
    assert life.restarted().count("journal_entries_replayed") == 0


def test_busy_executor_keeps_a_snapshot_when_twice_as_many_entries_have_come() -> None:
    """Idle moments are better, but none may come."""
    life = make_life(snapshot_interval_entries=4)
    counts = []

    for number in range(1, 10):
        life.signal(f"mine-1-{number}", strategy="mine", quantity="0.001")
        life.executor.rest(is_idle=False)
        counts.append(life.count("snapshots_kept"))

    assert counts == [0, 0, 0, 0, 0, 0, 0, 1, 1]


def spoil_newest(journal: MemoryJournal, spoil: Callable[[Snapshot], Snapshot]) -> None:
    """Replace the newest snapshot."""
    journal.kept[-1] = spoil(journal.kept[-1])


@pytest.mark.parametrize("name", SPOILT)
def test_start_passes_over_a_spoilt_snapshot_and_tells(name: str) -> None:
    """The one before it serves as well; people hear of it."""
    life = make_life(snapshot_interval_entries=10)
    lives_through(life, 21)
    spoil_newest(life.journal, SPOILT[name][0])

    next_life = life.restarted()
    next_life.recover()

    assert next_life.count("snapshots_unusable") == 1
    assert next_life.count("journal_entries_replayed") == 63 - 48
    assert [alarm.code for alarm in next_life.events_of(AlarmRaised)] == ["SNAPSHOT_UNUSABLE"]
    assert everything(next_life.book, life.journal.entries) == everything(life.book, life.journal.entries)


def test_start_without_any_usable_snapshot_folds_the_whole_journal() -> None:
    """Which is what the truth is made of."""
    life = make_life(snapshot_interval_entries=10)
    lives_through(life, 21)
    life.journal.kept[:] = [Snapshot(each.seq, b"", "") for each in life.journal.kept]

    next_life = life.restarted()

    assert next_life.count("snapshots_unusable") == 3
    assert next_life.count("journal_entries_replayed") == 63
    assert everything(next_life.book, life.journal.entries) == everything(life.book, life.journal.entries)


def test_snapshot_ahead_of_its_journal_is_passed_over() -> None:
    """It would know of what never was."""
    life = make_life(snapshot_interval_entries=10)
    lives_through(life, 21)
    del life.journal.entries[55:]

    next_life = life.restarted()

    assert next_life.count("snapshots_unusable") == 1
    assert next_life.book.memory.last_seq == 55
    assert everything(next_life.book, life.journal.entries) == everything(
        refold(life.journal.entries), life.journal.entries
    )


def test_snapshot_that_the_entries_behind_it_contradict_is_passed_over() -> None:
    """Its checksum fits, and it is wrong all the same: the fold of the entries decides."""
    life = make_life()
    life.have_working("mine-1-1", strategy="mine")
    wrong = Book()
    for number in range(len(life.journal.entries)):
        wrong.apply(make_denial(f"other-1-{number}"))
    life.journal.keep_snapshot(take_snapshot(wrong))
    life.fill("mine-1-1")
    life.fill("mine-1-1", quantity="0.6", leaves_quantity="0", filled_quantity="1")

    next_life = life.restarted()

    assert next_life.count("snapshots_unusable") == 1
    assert next_life.count("journal_entries_replayed") == len(life.journal.entries)
    assert next_life.order("mine-1-1").is_final


def test_only_entries_that_are_applied_are_in_a_snapshot() -> None:
    """An intent that is written ahead, and whose process dies then, is in the tail."""
    life = make_life()
    life.have_working("mine-1-1", strategy="mine")
    life.executor.begin_stop()
    life.journal.append([make_intent("mine-1-2", strategy="mine")])

    next_life = life.restarted()

    assert next_life.count("journal_entries_replayed") == 1
    assert next_life.order("mine-1-2").is_unanswered
