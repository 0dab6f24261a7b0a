"""Following a history: each fact once, over restarts, and anew where the history is another one."""

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from support.worker_builders import Desk, entries_of_a_day, until

import executor.history
from common.bus.worker import Projector, WorkerContext
from common.errors import ConfigError, FatalError
from common.history import Position, Recorded, open_history
from executor.entries import Entry
from executor.history import JOURNAL_NAME, JournalHistory
from executor.journal import SqliteJournal
from workers.following import follow


class Model(Projector):
    """A read model in memory: the numbers of the facts in it."""

    worker_name = "model"
    batch_facts_max = 2

    def __init__(self) -> None:
        self.facts: list[Recorded] = []
        self.resets = 0

    def position(self) -> Position:
        return Position(self.facts[-1].seq, self.facts[-1].timestamp_ns) if self.facts else Position()

    async def apply(self, facts: Sequence[Recorded], context: WorkerContext) -> None:
        self.facts += facts

    async def reset(self) -> None:
        self.resets += 1
        self.facts = []


def write(directory: Path, entries: Sequence[Entry]) -> None:
    """Append entries to the journal of a run."""
    journal = SqliteJournal(directory / JOURNAL_NAME, "normal")
    journal.append(entries)
    journal.close()


def follow_to_the_end(model: Model, directory: Path) -> None:
    """Follow the executor's history until nothing is left to apply."""

    async def run() -> None:
        behind: list[int] = []
        task = asyncio.create_task(follow(model, Desk(directory).context, 0.001, behind.append))
        await until(lambda: task.done() or behind[-1:] == [0])
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_each_fact_is_applied_once_over_restarts(tmp_path: Path) -> None:
    """Also those that were written while nobody followed."""
    entries = entries_of_a_day()
    model = Model()
    for start in range(0, len(entries), 3):
        write(tmp_path, entries[start : start + 3])
        follow_to_the_end(model, tmp_path)

    assert [fact.seq for fact in model.facts] == list(range(1, len(entries) + 1))
    assert model.resets == 0


def test_history_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """Workers may start before the executor."""

    async def run() -> None:
        model = Model()
        behind: list[int] = []
        task = asyncio.create_task(follow(model, Desk(tmp_path).context, 0.001, behind.append))
        await until(lambda: behind)
        write(tmp_path, entries_of_a_day())
        await until(lambda: len(model.facts) == len(entries_of_a_day()))
        assert not task.done()
        task.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("has_grown", [False, True])
def test_model_of_a_journal_that_was_restored_is_built_anew(tmp_path: Path, *, has_grown: bool) -> None:
    """From an older copy, whether that has as many entries as the model by now, or not."""
    entries = entries_of_a_day()
    write(tmp_path, entries[:3])
    shutil.copy(tmp_path / JOURNAL_NAME, tmp_path / "backup")
    write(tmp_path, entries[3:])
    model = Model()
    follow_to_the_end(model, tmp_path)
    for path in tmp_path.glob(f"{JOURNAL_NAME}*"):
        path.unlink()
    shutil.copy(tmp_path / "backup", tmp_path / JOURNAL_NAME)
    if has_grown:
        later = [_later(entry) for entry in entries[3:]]
        write(tmp_path, later)

    follow_to_the_end(model, tmp_path)

    assert model.resets == 1
    assert len(model.facts) == (len(entries) if has_grown else 3)


def test_journal_replaced_while_it_is_followed_ends_the_life(tmp_path: Path) -> None:
    """The next one looks whether the model still fits."""
    write(tmp_path, entries_of_a_day())

    async def run() -> None:
        behind: list[int] = []
        task = asyncio.create_task(follow(Model(), Desk(tmp_path).context, 0.001, behind.append))
        await until(lambda: behind[-1:] == [0])
        shutil.copy(tmp_path / JOURNAL_NAME, tmp_path / "copy")
        (tmp_path / "copy").replace(tmp_path / JOURNAL_NAME)
        with pytest.raises(FatalError, match="it was replaced"):
            await task

    asyncio.run(run())


def test_model_that_forgets_what_it_applied_is_no_model(tmp_path: Path) -> None:
    """It would be given the same facts for ever."""

    class Forgetful(Model):
        async def apply(self, facts: Sequence[Recorded], context: WorkerContext) -> None:
            return

    write(tmp_path, entries_of_a_day())

    with pytest.raises(FatalError, match="expected its model to be at fact 2, was 0"):
        follow_to_the_end(Forgetful(), tmp_path)


def test_long_way_to_a_position_is_gone_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call folds so many entries and no more, because its caller has a loop to turn."""
    monkeypatch.setattr(executor.history, "ENTRIES_PER_READ_MAX", 3)
    entries = entries_of_a_day()
    write(tmp_path, entries)
    history = JournalHistory(tmp_path)

    found = [[fact.seq for fact in history.read(7, 100)] for _ in range(3)]

    assert found == [[], [], [8, 9]]
    assert [fact.seq for fact in history.read(9, 100)] == [10, 11, 12]
    history.close()


def test_reading_back_tells_the_same(tmp_path: Path) -> None:
    """Events of a fact do not depend on who asks when."""
    write(tmp_path, entries_of_a_day())
    history = JournalHistory(tmp_path)

    assert history.read(0, 1_000) == history.read(0, 1_000) != []
    with pytest.raises(FatalError, match="ends at"):
        history.read(1_000, 10)
    history.close()


def test_file_that_is_no_journal_says_so(tmp_path: Path) -> None:
    """Rather than nothing."""
    (tmp_path / JOURNAL_NAME).write_bytes(b"nonsense" * 1_000)

    with pytest.raises(FatalError, match="expected a tickpulse journal"):
        JournalHistory(tmp_path).last_seq()


def test_history_that_nobody_offers_is_refused(tmp_path: Path) -> None:
    """With the names that there are."""
    with pytest.raises(ConfigError, match="expected one of executor"):
        open_history("nobody", tmp_path)


def _later(entry: Entry) -> Entry:
    """The same entry, made a second later."""
    return msgspec.structs.replace(entry, timestamp_ns=entry.timestamp_ns + 10**9)
