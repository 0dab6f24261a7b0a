"""`tickpulse dead-letters`, and what its owner does when a letter is to be tried again."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from support.bus_builders import PATIENCE_S, Recorder, make_config, make_halt
from support.message_builders import make_tick

from common.bus import open_bus
from common.bus.dead_letters import FOLDER, DeadLetter, DeadLetters, LetterState
from common.bus.failures import Category
from common.bus.letters import letter_for
from common.bus.redelivery import Redriver
from common.dead_letters_command import dead_letters
from common.errors import ExitCode
from common.events.base import Event
from common.events.risk import TradingStateChanged
from common.log import get_log

GARBAGE = b"tick.simulated.X\0\xc1\xff"


def make_letter(event: Event, owner: str = "pricer", **changes: Any) -> DeadLetter:
    """A letter of an event that a handler could not take."""
    letter = letter_for(
        event, owner, category=Category.PERMANENT, reason="KEY_ERROR", detail="KeyError: 'bid'", attempts=1,
        times_ns=(1, 2),
    )  # fmt: skip
    return msgspec.structs.replace(letter, **changes)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory with the letters of two processes."""
    monkeypatch.chdir(tmp_path)
    with_letters(tmp_path, "desk", make_letter(make_halt(1)), make_letter(make_tick(1), "hedger", last_ns=4))
    garbage = make_letter(make_tick(2), "frames:signals", frame=GARBAGE, reason="GARBAGE", last_ns=3)
    with_letters(tmp_path, "executor", garbage)
    return tmp_path


def with_letters(run_dir: Path, process: str, *letters: DeadLetter) -> None:
    """Put letters into the file of a process."""
    file = DeadLetters(run_dir / "state" / FOLDER / f"{process}.sqlite")
    for letter in letters:
        file.keep(letter)
    file.close()


def invoke(run_dir: Path, command: str, *arguments: str, **options: Any) -> Result:
    """Run the command."""
    return CliRunner().invoke(dead_letters, [command, "--run-dir", str(run_dir), *arguments], **options)


def names(result: Result) -> list[str]:
    """Which letters were listed."""
    return [row["letter"] for row in msgspec.json.decode(result.stdout)]


def test_list_shows_the_letters_of_all_processes_newest_last(run_dir: Path) -> None:
    """Whose they are, why, and how often it was tried."""
    result = invoke(run_dir, "list")

    assert result.exit_code == ExitCode.OK
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["LETTER", "desk/1", "executor/1", "desk/2", "3"]
    assert "KEY_ERROR" in lines[1]
    assert "Risk.TradingState.Changed.v1" in lines[1]


def test_list_is_narrowed_by_process_owner_reason_and_limit(run_dir: Path) -> None:
    """As a person does who looks for one mistake."""
    assert names(invoke(run_dir, "list", "--json")) == ["desk/1", "executor/1", "desk/2"]
    assert names(invoke(run_dir, "list", "--json", "--process", "desk")) == ["desk/1", "desk/2"]
    assert names(invoke(run_dir, "list", "--json", "--owner", "hedger")) == ["desk/2"]
    assert names(invoke(run_dir, "list", "--json", "--reason", "GARBAGE")) == ["executor/1"]
    assert names(invoke(run_dir, "list", "--json", "--limit", "1")) == ["desk/2"]
    assert names(invoke(run_dir, "list", "--json", "--process", "nobody")) == []


def test_show_prints_the_event_or_the_bytes(run_dir: Path) -> None:
    """What can be read is read; what cannot is there to the last byte."""
    event = msgspec.json.decode(invoke(run_dir, "show", "desk/1").stdout)
    frame = msgspec.json.decode(invoke(run_dir, "show", "executor/1").stdout)

    assert event["event"]["type"] == "Risk.TradingState.Changed.v1"
    assert event["event"]["state"] == "halted"
    assert base64.b64decode(frame["frame_base64"]) == GARBAGE
    assert "expected one MessagePack map" in frame["unreadable"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (("show", "desk"), ExitCode.USAGE, "expected PROCESS/NUMBER"),
        (("show", "desk/x"), ExitCode.USAGE, "expected PROCESS/NUMBER"),
        (("show", "desk/9"), ExitCode.CHECKS_FAILED, "desk/9: expected one that is kept"),
        (("show", "nobody/1"), ExitCode.CHECKS_FAILED, "nobody/1: expected one that is kept"),
        (("redrive",), ExitCode.USAGE, "expected a letter"),
        (("redrive", "desk/1", "--owner", "pricer"), ExitCode.USAGE, "were both"),
        (("redrive", "--owner", "nobody"), ExitCode.CHECKS_FAILED, "was none"),
        (("redrive", "executor/1"), ExitCode.CHECKS_FAILED, "cannot be redriven: it is a frame of the channel signals"),
        (("discard", "--json", "desk/1"), ExitCode.USAGE, "expected --yes"),
    ],
)
def test_mistake_is_told_with_its_exit_code(
    run_dir: Path, arguments: tuple[str, ...], exit_code: ExitCode, text: str
) -> None:
    """What was expected, what was there."""
    result = invoke(run_dir, *arguments)

    assert result.exit_code == exit_code
    assert text in result.output


def test_file_of_another_kind_is_refused(run_dir: Path) -> None:
    """It is not ours to write to."""
    (run_dir / "state" / FOLDER / "other.sqlite").write_bytes(b"no SQLite file, but long enough to be looked at" * 9)

    result = invoke(run_dir, "list")

    assert result.exit_code == ExitCode.FAULT
    assert "expected a readable SQLite file" in result.output


def test_discard_asks_first(run_dir: Path) -> None:
    """For ever is long."""
    refused = invoke(run_dir, "discard", "desk/1", input="n\n")
    assert refused.exit_code == 1
    assert names(invoke(run_dir, "list", "--json", "--process", "desk")) == ["desk/1", "desk/2"]

    result = invoke(run_dir, "discard", "--process", "desk", "--yes")
    assert result.stdout == "2 letters discarded\n"
    assert names(invoke(run_dir, "list", "--json")) == ["executor/1"]
    assert msgspec.json.decode(invoke(run_dir, "discard", "executor/1", "--yes", "--json").stdout) == {
        "discarded": ["executor/1"]
    }


def test_redriven_letter_is_gone_when_its_handler_takes_it_and_kept_when_it_fails_again(run_dir: Path) -> None:
    """With its attempts added; one whose handler is gone says so."""
    with_letters(run_dir, "desk", make_letter(make_halt(2), "broken"), make_letter(make_halt(3), "channel:ipc://x"))
    with_letters(run_dir, "desk", make_letter(make_halt(4), "pricer"))
    result = invoke(run_dir, "redrive", "--process", "desk")
    assert result.stdout == "5 letters: desk takes them within a second, or at its next start\n"
    letters = DeadLetters(run_dir / "state" / FOLDER / "desk.sqlite")

    async def main() -> list[Any]:
        taken = Recorder()
        async with asyncio.timeout(PATIENCE_S), open_bus("memory://", make_config(), letters=letters) as bus:
            bus.subscribe(TradingStateChanged, taken, name="pricer")
            bus.subscribe("tick.nowhere.*", _break, name="broken")
            assert await Redriver(bus, letters, get_log()).redrive_all() == 3
            await bus.drain()
        return taken.events

    events = asyncio.run(main())

    assert [event.seq for event in events] == [1, 3, 4]
    kept = {letter.owner: letter for letter in letters.read()}
    letters.close()
    assert sorted(kept) == ["broken", "hedger"]
    assert (kept["broken"].attempts, kept["broken"].reason) == (2, "ZERO_DIVISION_ERROR")
    assert kept["broken"].state is kept["hedger"].state is LetterState.KEPT
    assert "'hedger': expected one that is subscribed" in kept["hedger"].detail


def _break(_event: Event) -> None:
    raise ZeroDivisionError


def test_letter_whose_try_was_cut_off_is_tried_again_at_the_next_start(run_dir: Path) -> None:
    """At least once: it leaves the file after its event was handled, not before."""
    letters = DeadLetters(run_dir / "state" / FOLDER / "desk.sqlite")
    letters.ask_redrive(1)

    async def main() -> None:
        stuck = Recorder(is_gated=True)
        async with asyncio.timeout(PATIENCE_S), open_bus("memory://", make_config(), letters=letters) as bus:
            bus.subscribe(TradingStateChanged, stuck, name="pricer")
            redriving = asyncio.create_task(Redriver(bus, letters, get_log(), poll_s=0.001).run())
            await stuck.began.wait()
            redriving.cancel()
            await asyncio.wait([redriving])
            stuck.gate.set()

    asyncio.run(main())

    assert [letter.id for letter in letters.read(LetterState.REDRIVE)] == [1]
    letters.close()


def test_letter_of_market_data_that_waits_when_the_bus_closes_is_tried_again_at_the_next_start(run_dir: Path) -> None:
    """It is not less of a letter for being less urgent, and nobody waits for it for ever."""
    letters = DeadLetters(run_dir / "state" / FOLDER / "desk.sqlite")
    letters.ask_redrive(2)

    async def main() -> None:
        stuck = Recorder(is_gated=True)
        config = make_config(handler_timeout_ms=20)
        async with asyncio.timeout(PATIENCE_S), open_bus("memory://", config, letters=letters) as bus:
            bus.subscribe("*", stuck, name="hedger")
            await bus.publish(make_halt(1))
            await stuck.began.wait()
            redriving = asyncio.create_task(Redriver(bus, letters, get_log()).redrive_all())
            await asyncio.sleep(0)
            await bus.close(drain_s=0)
            assert await redriving == 0

    asyncio.run(main())

    assert [letter.id for letter in letters.read(LetterState.REDRIVE)] == [2]
    letters.close()
