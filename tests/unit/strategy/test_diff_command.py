"""`tickpulse replay --diff`: what it prints, and what it ends with."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.message_builders import make_tick
from support.tape_builders import TapedStage, trade_a_while

from common.errors import ExitCode
from common.replay_command import replay
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
    monkeypatch.setattr(command, "open_store", lambda *_: stage.log)
    return lambda *arguments: CliRunner().invoke(replay, ["sqlite:events", "--diff", *arguments])


def test_unchanged_strategy_is_identical(invoke: Invoke, stage: TapedStage) -> None:
    """By the name of the strategy in a run directory, or by the tape's own."""
    by_name = invoke("--strategy", "mine")
    by_path = invoke("--tape", str(stage.path))

    assert (by_name.exit_code, by_name.output) == (ExitCode.OK, by_path.output)
    first, second, *notes = by_name.output.splitlines()
    count = int(first.removeprefix("mine, epoch 7: identical, ").split()[0])
    assert count > 5
    assert first.endswith(f"{count} of {count} decisions, byte for byte")
    assert second.startswith("  2023-11-14 22:13:20.000000 to 2023-11-14 22:13:20.210000 UTC, ")
    assert notes == ["  code: that of then", "  parameters: those of then"]


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
    (life,) = found["lives"]
    assert (result.exit_code, found["result"], life["result"]) == (3, "different", "different")
    assert (life["parameters_changed"], life["is_code_changed"]) == ({"ticks": [3, 5]}, False)
    assert life["comparison"]["difference"]["inputs"][-1]["message"]["type"] == "Market.Tick.Received.v1"


def add_life(stage: TapedStage, *, is_recorded: bool = True) -> None:
    """One more life of the strategy, on the tape of epoch 12; its market is in the log if it was recorded."""
    newer = TapedStage(stage.path.parent.parent, epoch=12)
    trade_a_while(newer, first_seq=1_001)
    newer.file.close()
    if is_recorded:
        stage.log.append_batch([record.message for record in newer.log.get_events()])


def test_all_lives_are_compared_in_order_unless_one_is_named(invoke: Invoke, stage: TapedStage) -> None:
    """By the number of the life, not by its name as text; with the sum of both at the end."""
    add_life(stage)

    both, one = invoke("--strategy", "mine"), invoke("--strategy", "mine", "--epoch", "7")

    heads = [line for line in both.output.splitlines() if not line.startswith(" ")]
    assert (both.exit_code, one.exit_code) == (ExitCode.OK, ExitCode.OK)
    assert [head.partition(":")[0] for head in heads] == ["mine, epoch 7", "mine, epoch 12", "identical"]
    assert heads[2].startswith("identical: 2 lives, 2 identical; ")
    assert one.output.splitlines() == both.output.splitlines()[:4]
    assert invoke().output == both.output


def test_first_different_life_is_explained_and_the_others_are_named(invoke: Invoke, stage: TapedStage) -> None:
    """One difference at a time is enough to read."""
    add_life(stage)

    result = invoke("--strategy", "mine", "--param", "quantity=1.25")

    lines = result.output.splitlines()
    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert lines.count("made in:") == 1
    assert "mine, epoch 12: different at decision 1; the 0 before it are identical" in lines
    assert lines[-1] == "different: 2 lives, 2 different; 0 decisions are identical"


def test_life_that_was_not_recorded_does_not_hide_the_others(invoke: Invoke, stage: TapedStage) -> None:
    """Exit 2: the whole cannot be told, but what can be told is."""
    add_life(stage, is_recorded=False)

    result = invoke("--json")

    found = json.loads(result.output)
    assert (result.exit_code, found["result"]) == (ExitCode.USAGE, "unknown")
    assert [life["result"] for life in found["lives"]] == ["identical", "unknown"]
    assert "was not there" in found["lives"][1]["why"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--diff", "--speed", "2"], "--speed does not go with --diff"),
        (["--diff", "--from", "2024-01-01"], "--from does not go with --diff"),
        (["--param", "a=1"], "--param goes only with --diff"),
        (["--strategy", "mine"], "--strategy goes only with --diff"),
    ],
)
def test_option_that_would_not_count_is_refused(arguments: list[str], expected: str) -> None:
    """Exit 2."""
    result = CliRunner().invoke(replay, ["sqlite:events", *arguments])

    assert result.exit_code == ExitCode.USAGE
    assert expected in result.output


def test_change_for_one_of_several_strategies_names_it(invoke: Invoke, stage: TapedStage) -> None:
    """A parameter belongs to one strategy."""
    other = stage.path.with_name("other-9.tape")
    other.write_bytes(stage.path.read_bytes())

    result = invoke("--param", "quantity=2")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert "expected --strategy with it, one of mine, other" in result.output


@pytest.mark.parametrize(
    ("arguments", "exit_code", "expected"),
    [
        (["--strategy", "mine", "--tape", "x"], ExitCode.USAGE, "expected neither --strategy nor --epoch with it"),
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
    monkeypatch.setattr(command, "open_store", lambda *_: MemoryStore())

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
