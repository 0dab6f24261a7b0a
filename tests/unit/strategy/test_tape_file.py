"""Tapes on disk: what was written is read back, as far as it is whole, and trouble with the file stops no trading."""

from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.engine_builders import make_position_event, make_trade
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.tape_builders import TapedStage, trade_a_while

from common.events.base import Message
from common.log import get_log
from strategy.tape.file import Tape, TapeUnreadableError, find_tapes, remove_old_tapes, tape_path
from strategy.tape.notes import (
    BLOCK_HEAD_BYTES,
    MAGIC,
    Ended,
    MarketCall,
    OutgoingTaken,
    Stopped,
    TapeDecoder,
    TapeEncoder,
    TimePassed,
    reference_of,
)

MESSAGES = st.one_of(
    st.builds(make_tick, st.integers(1, 2**40), epoch=st.integers(1, 2**50), symbol=st.sampled_from(["A/B", "C/D"])),
    st.builds(make_ticks, st.integers(3, 2**40)),
    st.builds(lambda seq: make_trade(seq=seq), st.integers(1, 2**40)),
)


@given(
    blocks=st.lists(
        st.lists(
            st.one_of(
                st.tuples(MESSAGES, st.integers(-(2**60), 2**60)),
                st.tuples(st.builds(Stopped, st.integers(0, 2**62)), st.none()),
                st.tuples(st.builds(TimePassed, st.integers(0, 2**62)), st.none()),
            )
        )
    )
)
def test_calls_come_back_as_they_were_noted(blocks: list[list[tuple[Any, ...]]]) -> None:
    """Whatever the order of topics, numbers and times, also where a clock or a number goes back."""
    encoder, decoder = TapeEncoder(), TapeDecoder()

    read = [
        note
        for block in blocks
        for note in decoder.notes(encoder.block([part for item in block for part in item])[BLOCK_HEAD_BYTES:])
    ]

    items = [item for block in blocks for item in block]
    assert read == [MarketCall(item[1], reference_of(item[0])) if item[1] is not None else item[0] for item in items]


def test_a_tick_in_a_row_costs_few_bytes() -> None:
    """A stream of 10 k ticks/s is 70 kB/s of tape; the log has some 200 bytes for each."""
    encoder = TapeEncoder()
    encoder.block([make_tick(1), NOW_NS])
    noted: list[Any] = []
    for seq in range(2, 1_002):
        noted += (make_tick(seq), NOW_NS + seq * 100_000)

    assert len(encoder.block(noted)) < 7_100


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a tickpulse tape, was another kind of file"),
        (b"SQLite format 3\x00", "expected a tickpulse tape, was another kind of file"),
        (MAGIC[:-1] + b"\x02", "expected version 1, was 2; use the tickpulse that wrote it"),
        (MAGIC, "expected its head, the file ends before it"),
        (MAGIC + b"\x05\x00\x00\x00", "expected its head, the block at byte 8 is cut"),
        (MAGIC + b"\x01\x00\x00\x00\x00\x00\x00\x00\x80", "the block at byte 8 is not as it was written"),
        (MAGIC + b"\x01\x00\x00\x00\xfc\xd8\x51\xac\x2a", "the block at byte 8"),
        (MAGIC + b"\xff\xff\xff\xff\x00\x00\x00\x00", "the block at byte 8 is not as it was written"),
    ],
)
def test_what_is_no_tape_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    """Foreign, of another version, cut or damaged before anything could be read: it cannot be told, exit code 2."""
    path = tmp_path / "mine-7.tape"
    path.write_bytes(content)

    with pytest.raises(TapeUnreadableError, match=expected) as error:
        Tape(path)

    assert str(path) in str(error.value)
    assert error.value.exit_code == 2


def test_tape_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As one that may not be read."""
    with pytest.raises(TapeUnreadableError, match="expected a readable file, No such file or directory"):
        Tape(tmp_path / "mine-7.tape")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A tape of several blocks."""
    stage = TapedStage(tmp_path)
    for seq in range(1, 30, 6):
        trade_a_while(stage, 6, first_seq=seq)
        stage.file.write()
    return stage.tape().path


def test_tape_that_is_being_written_is_the_same_each_time_it_is_read(tmp_path: Path) -> None:
    """A comparison reads it twice."""
    stage = TapedStage(tmp_path)
    trade_a_while(stage)
    tape = stage.tape(is_closed=False)
    notes = list(tape.notes())

    trade_a_while(stage, first_seq=31)
    stage.file.close()

    assert list(tape.notes()) == notes
    assert len(list(Tape(stage.path).notes())) > len(notes)


def test_torn_tail_leaves_what_is_before_it(whole: Path) -> None:
    """Wherever kill -9 or the loss of power cuts it; the place is told."""
    tape = Tape(whole)
    notes, content = list(tape.notes()), whole.read_bytes()
    assert (tape.damage, notes[-1]) == ("", Ended("closed"))
    counts = set()

    for size in range(len(content) - 1, content.index(b"closed") // 2, -1):
        whole.write_bytes(content[:size])
        found = list(tape.notes())
        counts.add(len(found))
        assert found == notes[: len(found)]

    assert len(counts) > 3
    assert "is cut" in tape.damage


def test_flipped_bit_ends_the_tape_before_its_block(whole: Path) -> None:
    """Nothing of a damaged block is believed."""
    tape = Tape(whole)
    notes, content = list(tape.notes()), whole.read_bytes()
    damages = set()

    for position in range(len(content) - 1, len(content) // 2, -7):
        whole.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :])
        found = list(tape.notes())
        assert found == notes[: len(found)]
        assert len(found) < len(notes)
        damages.add(tape.damage.partition(" byte ")[0])

    assert damages == {"the block at"}


def test_disk_that_is_full_ends_the_tape_and_not_the_trading(tmp_path: Path) -> None:
    """Told once, in the log; what was whole before can be compared."""
    with capture_logs() as logs:
        stage = TapedStage(tmp_path)
        trade_a_while(stage)
        stage.file.write()
        size = stage.path.stat().st_size
        disk = stage.file._file
        stage.file._file = FullDisk(disk)  # type: ignore[assignment]  # as far as it is used
        trade_a_while(stage, first_seq=31)
        stage.file.write()
        trade_a_while(stage, first_seq=61)
        stage.file.write()

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("tape_ended", "error"),
        ("tape_without_mark", "warning"),
    ]
    assert stage.path.stat().st_size == size
    assert (stage.file.is_ended, stage.engine.noted) == (True, [])
    diff = stage.diff()
    assert (diff.result, diff.comparison.ended, diff.damage) == ("identical", None, "")
    assert 0 < diff.comparison.decisions < stage.count("signals_emitted") + stage.count("cancels_emitted")


class FullDisk:
    """A file whose disk takes half a block, then nothing."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._room = 10

    def write(self, block: bytes) -> int:
        """Take what there is room for."""
        if not self._room:
            raise OSError(28, "No space left on device")
        taken: int = self._file.write(block[: self._room])
        self._room = 0
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def test_tape_that_cannot_be_begun_stops_nothing(tmp_path: Path) -> None:
    """Such as one that is there already: it is never written over."""
    path = tape_path(tmp_path, "mine", 7)
    path.parent.mkdir()
    path.write_bytes(b"another")

    with capture_logs() as logs:
        stage = TapedStage(tmp_path)
        trade_a_while(stage)
        stage.file.close()

    assert [entry["reason"] for entry in logs] == ["cannot be written: File exists"]
    assert path.read_bytes() == b"another"
    assert stage.count("signals_emitted") > 0


def test_message_that_no_tape_can_hold_ends_it(tmp_path: Path) -> None:
    """A number of 65 bits with its step: not worth a format of its own, nor the end of the strategy."""
    stage = TapedStage(tmp_path)

    with capture_logs() as logs:
        stage.market(make_tick(2**64 - 1, timestamp_ns=NOW_NS), make_tick(1))
        stage.file.write()

    assert [entry["event"] for entry in logs] == ["tape_ended"]
    assert [note for note in stage.tape().notes() if isinstance(note, MarketCall)] == []


def test_tape_ends_at_its_limit_with_a_mark(tmp_path: Path) -> None:
    """The comparison says that the strategy went on."""
    with capture_logs() as logs:
        stage = TapedStage(tmp_path, bytes_max=4_000)
        for seq in range(1, 200, 10):
            trade_a_while(stage, 10, first_seq=seq)
            stage.file.write()

    assert [entry["reason"] for entry in logs] == ["tape_bytes_max"]
    assert stage.path.stat().st_size < 6_000
    diff = stage.diff()
    assert (diff.result, diff.comparison.ended) == ("identical", "tape_bytes_max")


def test_time_that_changes_nothing_is_not_noted(tmp_path: Path) -> None:
    """An idle strategy looks at the time 200 times a second; timers and checkpoints are what is left of it."""
    stage = TapedStage(tmp_path)

    for _ in range(1_000):
        stage.advance(ms=5)
        stage.take()

    times = [note for note in stage.tape().notes() if isinstance(note, TimePassed | OutgoingTaken)]
    assert 5 <= len(times) <= 20


def test_event_of_another_strategy_is_not_noted(tmp_path: Path) -> None:
    """It passes by."""
    stage = TapedStage(tmp_path, is_started=False)

    stage.event(make_position_event("1", strategy="another"))

    assert list(stage.tape().notes()) == [Ended("closed")]


def test_old_tapes_make_room_for_the_new_one(tmp_path: Path) -> None:
    """The oldest go, those of a strategy with a longer name stay."""
    for name, epoch in [("mine", 9), ("mine", 10), ("mine", 100), ("mine_too", 1)]:
        path = tape_path(tmp_path, name, epoch)
        path.parent.mkdir(exist_ok=True)
        path.touch()

    remove_old_tapes(tmp_path, "mine", 3, get_log())

    assert find_tapes(tmp_path, "mine") == [tape_path(tmp_path, "mine", epoch) for epoch in (10, 100)]
    assert len(find_tapes(tmp_path, "mine_too")) == 1

    remove_old_tapes(tmp_path, "mine", 1, get_log())

    assert find_tapes(tmp_path, "mine") == []


def test_unknown_stream_is_damage_and_no_crash() -> None:
    """A block that was whole, of a writer that was not."""
    other = TapeEncoder()
    other.block(_calls(make_tick(1)))
    block = other.block(_calls(make_tick(2)))

    with pytest.raises(Exception, match="expected market calls of known streams"):
        list(TapeDecoder().notes(block[BLOCK_HEAD_BYTES:]))


def _calls(*messages: Message) -> list[Any]:
    return [part for message in messages for part in (message, NOW_NS)]
