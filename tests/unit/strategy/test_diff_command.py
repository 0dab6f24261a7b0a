"""`tickpulse diff`: what it prints, and what it ends with."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.message_builders import make_tick
from support.tape_builders import TapedStage, trade_a_while

from common.errors import ExitCode
from common.store.memory import MemoryStore
from strategy.tape import command

Invoke = Callable[..., Result]


@pytest.fixture
def stage(tmp_path: Path) -> TapedStage:
    """A session that is over; its tape is where that of a run would be."""
    (tmp_path / "run" / "state").mkdir(parents=True)
    stage = TapedStage(tmp_path / "run" / "state")
    trade_a_while(stage)
    stage.file.close()
    return stage


@pytest.fixture
def invoke(tmp_path: Path, stage: TapedStage, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the command in an empty folder; whatever store is asked for is the session's."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKPULSE_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(command, "open_store", lambda _: stage.log)
    return lambda *arguments: CliRunner().invoke(command.diff, ["sqlite:events", *arguments])


def test_unchanged_strategy_is_identical(invoke: Invoke, stage: TapedStage) -> None:
    """By the name of the strategy in a run directory, or by the tape's own."""
    by_name = invoke("--strategy", "mine")
    by_path = invoke("--tape", str(stage.path))

    assert (by_name.exit_code, by_name.output) == (ExitCode.OK, by_path.output)
    first, second = by_name.output.splitlines()
    count = int(first.removeprefix("mine, epoch 7: identical, ").split()[0])
    assert count > 5
    assert first.endswith(f"{count} of {count} decisions, byte for byte")
    assert second.startswith("  2023-11-14 22:13:20.000000 to 2023-11-14 22:13:20.210000 UTC, ")


def test_first_difference_is_shown_with_its_inputs(invoke: Invoke) -> None:
    """Both instructions field by field, the one that differs with a star."""
    result = invoke("--strategy", "mine", "--param", "quantity=1.25")

    assert result.exit_code == ExitCode.CHECKS_FAILED
    lines = result.output.splitlines()
    assert lines[0] == "mine, epoch 7: different at decision 1; the 0 before it are identical"
    assert "  parameter quantity: 1.0 then, 1.25 now" in lines
    assert any("on_market Market.Tick.Received.v1: source=gateway seq=" in line for line in lines)
    assert [line.split() for line in lines if line.startswith("*")] == [["*", "quantity", "1.0", "1.25"]]
    assert {"made in:", "just before:", "newest events:", "position:"} <= set(lines)
    assert any("on_event Trading.State.Reported.v1" in line for line in lines)


def test_json_has_all_of_it(invoke: Invoke) -> None:
    """For programs: the same facts, by name."""
    result = invoke("--strategy", "mine", "--param", "ticks=5", "--json")

    found = json.loads(result.output)
    assert (result.exit_code, found["result"], found["parameters_changed"]) == (3, "different", {"ticks": [3, 5]})
    assert found["comparison"]["difference"]["inputs"][-1]["message"]["type"] == "Market.Tick.Received.v1"


def test_newest_tape_is_taken_unless_another_is_named(invoke: Invoke, stage: TapedStage) -> None:
    """By the number of its life, not by its name as text."""
    newer = TapedStage(stage.path.parent.parent, epoch=12)
    trade_a_while(newer, 3)
    newer.file.close()
    stage.log.append_batch([record.message for record in newer.log.get_events()])

    assert invoke("--strategy", "mine").output.startswith("mine, epoch 12: identical")
    assert invoke("--strategy", "mine", "--epoch", "7").output.startswith("mine, epoch 7: identical")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "expected"),
    [
        ([], ExitCode.USAGE, "expected either --strategy or --tape"),
        (["--strategy", "mine", "--tape", "x"], ExitCode.USAGE, "expected either --strategy or --tape"),
        (["--strategy", "other"], ExitCode.USAGE, "tapes of other: expected one in "),
        (["--strategy", "mine", "--epoch", "8"], ExitCode.USAGE, "expected epoch 8 in "),
        (["--tape", "nowhere.tape"], ExitCode.USAGE, "tape nowhere.tape: expected a readable file, No such file"),
        (["--strategy", "Not A Name"], ExitCode.BAD_CONFIG, "strategy name: expected a lower-case word"),
        (["--strategy", "mine", "--param", "ticks"], ExitCode.BAD_CONFIG, "--param: expected KEY=VALUE"),
        (["--strategy", "mine", "--param", "ticks=0"], ExitCode.BAD_CONFIG, "parameters of Busy: Expected int >= 1"),
        (["--strategy", "mine", "--param", "tick=1"], ExitCode.BAD_CONFIG, "unknown field tick"),
        (["--strategy", "mine", "--as", "momentun"], ExitCode.BAD_CONFIG, "did you mean momentum?"),
    ],
)
def test_what_is_wrong_is_said(invoke: Invoke, arguments: list[str], exit_code: int, expected: str) -> None:
    """One line, no traceback."""
    result = invoke(*arguments)

    assert (result.exit_code, "Traceback" in result.output) == (exit_code, False)
    assert expected in result.output


def test_log_that_misses_a_message_cannot_tell(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not identical, not different."""
    monkeypatch.setattr(command, "open_store", lambda _: MemoryStore())

    result = invoke("--strategy", "mine")

    assert result.exit_code == ExitCode.USAGE
    assert f"epoch {make_tick(1).epoch}, number 1, was not there" in result.output


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        (lambda content: content[:-20], "  the tape is whole only so far: the block at byte "),
        (
            lambda content: content[: content.index(b"\x91\x92\x0a") - 8],
            "  the tape has no mark of its end: its process was killed or still runs; compared up to there",
        ),
    ],
)
def test_tape_without_its_end_is_compared_up_to_there(
    invoke: Invoke, stage: TapedStage, reduce: Callable[[bytes], bytes], expected: str
) -> None:
    """After kill -9, or the loss of power; the tape says so."""
    stage.path.write_bytes(reduce(stage.path.read_bytes()))

    result = invoke("--strategy", "mine")

    assert result.exit_code == ExitCode.OK
    assert expected in result.output


def test_callbacks_that_raise_are_shown(invoke: Invoke) -> None:
    """Beside the difference that they make."""
    result = invoke("--strategy", "mine", "--param", "raises_at=6")

    expected = "  callbacks that raised: 0 then, 1 now; the first: on_tick: ZeroDivisionError: tick 6"
    assert expected in result.output.splitlines()
    assert "no instruction now; the other:" in result.output.splitlines()
