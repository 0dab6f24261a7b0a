"""The journal as others read it: the same facts, from wherever a reader begins."""

from pathlib import Path

import pytest
from support.executor_histories import World

import executor.history
from common.history import Recorded
from executor.book import Book
from executor.entries import Entry
from executor.history import JOURNAL_NAME, JournalHistory
from executor.journal import SqliteJournal
from executor.snapshot import Snapshot, take_snapshot

SEEDS = range(4)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call folds few entries and holds few instructions, so that short histories go all ways."""
    monkeypatch.setattr(executor.history, "ENTRIES_PER_READ_MAX", 5)
    monkeypatch.setattr(executor.history, "ENDED_MAX", 1)


def write_history(directory: Path, seed: int, *, snapshot_every: int | None) -> list[Entry]:
    """A journal of a random history, with snapshots on the way, as the executor keeps them."""
    world = World(seed)
    world.play()
    world.end()
    entries: list[Entry] = world.life.journal.entries
    journal = SqliteJournal(directory / JOURNAL_NAME, "normal")
    book = Book(journal)
    for number, entry in enumerate(entries, start=1):
        book.apply(entry)
        journal.append([entry])
        if snapshot_every is not None and number % snapshot_every == 0:
            journal.keep_snapshot(take_snapshot(book))
    journal.close()
    return entries


def read_on(history: JournalHistory, seq: int) -> list[Recorded]:
    """All facts behind a number."""
    facts: list[Recorded] = []
    while seq < history.last_seq():
        found = history.read(seq, 100)
        facts += found
        seq = found[-1].seq if found else seq
    return facts


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_are_the_same_wherever_a_reader_begins(tmp_path: Path, seed: int) -> None:
    """From the first entry, behind a snapshot, behind none that is left, and going back."""
    entries = write_history(tmp_path, seed, snapshot_every=7)
    whole = JournalHistory(tmp_path)
    expected = read_on(whole, 0)
    assert [fact.seq for fact in expected] == list(range(1, len(entries) + 1))
    for begin in range(0, len(entries), 7):
        beginner = JournalHistory(tmp_path)
        assert read_on(beginner, begin) == read_on(whole, begin) == expected[begin:]
        beginner.close()
    whole.close()


def test_reader_far_behind_the_first_entry_folds_only_what_is_behind_a_snapshot(tmp_path: Path) -> None:
    """What came before it is not read."""
    entries = write_history(tmp_path, 1, snapshot_every=5)
    history = JournalHistory(tmp_path)

    first = history.read(len(entries) - 1, 100)

    assert [fact.seq for fact in first] == [len(entries)]
    history.close()


@pytest.mark.parametrize("is_unreadable", [True, False])
def test_snapshot_that_is_wrong_is_passed_over(tmp_path: Path, *, is_unreadable: bool) -> None:
    """One that is damaged, and one of another past, which shows when an entry tells of what it does not know."""
    entries = write_history(tmp_path, 2, snapshot_every=None)
    whole = JournalHistory(tmp_path)
    expected = read_on(whole, 0)
    whole.close()
    nobody = Book()
    nobody.memory.last_seq = len(entries) // 2
    wrong = take_snapshot(nobody)
    journal = SqliteJournal(tmp_path / JOURNAL_NAME, "normal")
    journal.keep_snapshot(Snapshot(wrong.seq, wrong.body, "0" * 64) if is_unreadable else wrong)
    journal.close()
    history = JournalHistory(tmp_path)

    assert read_on(history, wrong.seq) == expected[wrong.seq :]

    history.close()
