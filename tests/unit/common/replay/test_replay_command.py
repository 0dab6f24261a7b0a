import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.message_builders import make_tick
from support.message_samples import sample_message
from support.replay_builders import LOG_NS, damage_record, write_log

from common.cli import main
from common.clock import NS_PER_S
from common.events.market import Trade
from common.events.system import ReplayControlRequested
from common.store.times import format_time_ns

TICKS = [make_tick(number, timestamp_ns=LOG_NS + number * NS_PER_S, bid=float(number)) for number in range(1, 6)]


@pytest.fixture(autouse=True)
def _working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> str:
    """Five ticks, a second apart, a trade and a command."""
    others = [sample_message(Trade), sample_message(ReplayControlRequested)]
    return f"jsonl:{write_log(tmp_path / 'log', [*TICKS, *others])}"


def run(*arguments: str) -> Result:
    """`tickpulse ...` in this process."""
    return CliRunner().invoke(main, list(arguments))


def replay(*arguments: str) -> Result:
    """`tickpulse replay ... --speed 0`."""
    return run("replay", *arguments, "--speed", "0")


def lines_of(result: Result) -> list[dict[str, Any]]:
    """What was printed, line by line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_summary_counts_every_message(log: str) -> None:
    """Events by type, and what a bus does not carry."""
    result = replay(log, "--json")

    (summary,) = lines_of(result)
    assert result.exit_code == 0
    assert summary["events"] == {"Market.Tick.Received.v1": 5, "Market.Trade.Received.v1": 1}
    assert (summary["played"], summary["not_events"], summary["failed"]) == (6, 1, 0)


def test_summary_for_people_is_on_stderr(log: str) -> None:
    """Because stdout may be the events."""
    result = replay(log)

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "6 events in" in result.stderr
    assert "commands, queries and replies" in result.stderr


def test_printed_events_are_one_json_object_a_line(log: str) -> None:
    """In the order of time, with their type."""
    result = replay(log, "--print", "--type", "Market.Tick.*")

    assert [line["bid"] for line in lines_of(result)] == [1, 2, 3, 4, 5]
    assert {line["type"] for line in lines_of(result)} == {"Market.Tick.Received.v1"}


def test_range_and_filters_select(log: str) -> None:
    """From including, to excluding."""
    times = ("--from", format_time_ns(TICKS[1].timestamp_ns), "--to", format_time_ns(TICKS[3].timestamp_ns))

    ranged = replay(log, "--print", *times)
    by_symbol = replay(log, "--print", "--symbol", "BTC/USDT", "--exchange", "simulated", "--type", "tick", *times)

    assert [line["bid"] for line in lines_of(ranged)] == [2, 3]
    assert lines_of(by_symbol) == lines_of(ranged)


@pytest.mark.parametrize(
    "arguments", [("--symbol", "NO/NE"), ("--from", "2031-01-01"), ("--to", "1999-01-01"), ("--type", "bar")]
)
def test_range_with_nothing_in_it_says_what_the_store_has(log: str, arguments: tuple[str, ...]) -> None:
    """Exit 3; also for times to come."""
    result = replay(log, *arguments)

    assert result.exit_code == 3
    assert "nothing was selected; the store has 7 records from 2020-09-13T12:26:41" in result.stderr
    assert "5 Market.Tick.Received.v1" in result.stderr


def test_empty_store_says_so(tmp_path: Path) -> None:
    """Exit 3."""
    result = replay(f"jsonl:{write_log(tmp_path / 'empty', [])}")

    assert result.exit_code == 3
    assert "the store is empty" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--from", "2024-01-02", "--to", "2024-01-01"), "expected a time before --to"),
        (("--from", "yesterday"), "ISO 8601"),
        (("--speed", "-1"), "expected 0 for as fast as possible"),
        (("--speed", "fast"), "expected a number"),
        (("--type", "tock"), "tickpulse events list"),
        (("--handler", "no_such_module_here:f"), "can be imported"),
        (("--handler", "json"), "expected module:function"),
        (("--transform", "json:no_such"), "there is none"),
    ],
)
def test_wrong_option_is_a_usage_error(log: str, arguments: tuple[str, ...], what: str) -> None:
    """Exit 2, before anything is opened."""
    result = run("replay", log, *arguments)

    assert result.exit_code == 2
    assert what in " ".join(result.stderr.split())


def test_unknown_store_is_bad_config(tmp_path: Path) -> None:
    """Exit 78."""
    result = replay(str(tmp_path / "nowhere"))

    assert result.exit_code == 78
    assert "expected one of" in result.stderr


def test_damaged_part_ends_it_after_what_came_before(tmp_path: Path) -> None:
    """Exit 1, with the place."""
    path = write_log(tmp_path / "log", [*TICKS, make_tick(6, timestamp_ns=LOG_NS + 6 * NS_PER_S)])
    damage_record(path, 6)

    result = replay(f"jsonl:{path}", "--print")

    assert result.exit_code == 1
    assert [line["bid"] for line in lines_of(result)] == [1, 2, 3, 4, 5]
    assert "record 6" in result.stderr


HANDLERS = """
def third(event):
    if getattr(event, "bid", 0) == 3:
        raise RuntimeError("three")

def without_third(message):
    return None if getattr(message, "bid", 0) == 3 else message

def wrong(message):
    return message.bid
"""


def test_handlers_and_transforms_of_a_module_here(log: str, tmp_path: Path) -> None:
    """A handler that raises is named, exit 3; a transform may keep it from what it fails at; one may fail, exit 1."""
    (tmp_path / "my_replay_study.py").write_text(HANDLERS)

    failed = replay(log, "--handler", "my_replay_study:third", "--print")
    stopped = replay(log, "--handler", "my_replay_study:third", "--print", "--stop-on-error")
    kept = replay(log, "--handler", "my_replay_study:third", "--transform", "my_replay_study:without_third")
    wrong = replay(log, "--transform", "my_replay_study:wrong")

    assert (failed.exit_code, len(lines_of(failed))) == (3, 6)
    assert "my_replay_study:third at gateway:" in failed.stderr
    assert (stopped.exit_code, len(lines_of(stopped))) == (3, 3)
    assert kept.exit_code == 0
    assert wrong.exit_code == 1
    assert "transform my_replay_study:wrong at record 1 (Market.Tick" in wrong.stderr


def test_nobody_to_steer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3."""
    monkeypatch.setattr("common.replay_command.ANSWER_MS_MAX", 50)

    result = run("replay-control", "status", "--run-dir", str(tmp_path / "run"))

    assert result.exit_code == 3
    assert "does a replay run there?" in result.stderr


@pytest.mark.parametrize("arguments", [("seek",), ("seek", "soon"), ("speed", "-3"), ("pause", "now"), ("jump",)])
def test_wrong_command_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    """Exit 2, before anybody is asked."""
    assert run("replay-control", *arguments).exit_code == 2
