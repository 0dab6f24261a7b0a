"""The challenge worker: an attempt over restarts, its report, and what people are shown of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.executor_builders import ExecutorHarness
from support.worker_builders import START_NS, Desk, build_positions, make_value

from common.clock import NS_PER_DAY, NS_PER_S
from common.errors import ConfigError
from common.events.base import Event
from common.events.challenge import ChallengeCompleted, ChallengeFailed, ChallengeStarted
from common.events.evaluation import ReportGenerated
from common.events.portfolio import PortfolioValued
from workers.challenge.command import challenge
from workers.challenge.curve import POINTS_MAX, Curve
from workers.challenge.report import page_of
from workers.challenge.worker import FOLDER, Challenge, read_progress

OPTIONS: dict[str, Any] = {
    "attempt_id": "a-1",
    "starting_balance": "1000",
    "daily_loss_max": "50",
    "total_loss_max": "100",
    "phases": [{"profit_target": "100", "trading_days_min": 1}],
}


def follow(directory: Path, *values: PortfolioValued, **options: Any) -> Desk:
    """Have a new worker hear these valuations."""
    desk = Desk(directory, OPTIONS | options)

    async def run() -> None:
        worker = Challenge()
        await worker.start(desk.context)
        for value in values:
            if worker.can_handle(value):
                await worker.process_event(value, desk.context)
        await worker.stop()

    asyncio.run(run())
    return desk


def have_traded(directory: Path, at_ns: int = START_NS + NS_PER_S) -> None:
    """A fill at this time, in the read model."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working("s-1")
    harness.fill("s-1", timestamp_ns=at_ns)
    build_positions(harness.journal.entries, directory)


def test_attempt_that_reaches_its_target_is_passed_and_reported(tmp_path: Path) -> None:
    """With a page that holds what the event tells."""
    have_traded(tmp_path)

    desk = follow(tmp_path, make_value("1000"), make_value("1060", at_s=2), make_value("1100", at_s=3))

    assert len(desk.of(ChallengeStarted)) == len(desk.of(ChallengeCompleted)) == len(desk.of(ReportGenerated)) == 1
    page = (tmp_path / FOLDER / "a-1.html").read_text()
    assert "passed" in page
    assert desk.of(ReportGenerated)[0].size_bytes == len(page.encode())


def test_attempt_without_a_trade_is_not_passed(tmp_path: Path) -> None:
    """Its day of trading is missing."""
    desk = follow(tmp_path, make_value("1000"), make_value("1100", at_s=3))

    assert desk.of(ChallengeCompleted) == []


def test_trade_made_while_nobody_ran_counts(tmp_path: Path) -> None:
    """Days of trading come from the read model, which misses nothing."""
    follow(tmp_path, make_value("1000"))
    have_traded(tmp_path, START_NS + NS_PER_DAY)

    desk = follow(tmp_path, make_value("1100", at_s=3 * 86_400))

    assert len(desk.of(ChallengeCompleted)) == 1


def test_trade_before_the_attempt_counts_for_nothing(tmp_path: Path) -> None:
    """Nor does what was won before."""
    have_traded(tmp_path, START_NS - NS_PER_S)

    desk = follow(tmp_path, make_value("1500"), make_value("1600", at_s=1))

    assert desk.of(ChallengeCompleted) == []


def test_restart_goes_on_where_the_attempt_stood(tmp_path: Path) -> None:
    """It starts once, fails once, and its day's beginning is not forgotten."""
    first = follow(tmp_path, make_value("1000"), make_value("1030", at_s=1))
    second = follow(tmp_path, make_value("951", at_s=2), make_value("950", at_s=3))
    third = follow(tmp_path, make_value("2000", at_s=4))

    assert [type(event) for event in first.published].count(ChallengeStarted) == 1
    assert second.of(ChallengeStarted) == third.published == []
    assert [event.code for event in second.of(ChallengeFailed)] == ["DAILY_LOSS_LIMIT"]


def test_state_is_written_before_it_is_told(tmp_path: Path) -> None:
    """An end that could not be told is an end all the same."""

    class Deaf(Desk):
        async def _publish(self, event: Event) -> None:
            if isinstance(event, ChallengeFailed):
                raise OSError("nobody listens")

    desk = Deaf(tmp_path, OPTIONS)

    async def run() -> None:
        worker = Challenge()
        await worker.start(desk.context)
        await worker.process_event(make_value("1000"), desk.context)
        with pytest.raises(OSError, match="nobody listens"):
            await worker.process_event(make_value("900", at_s=1), desk.context)

    asyncio.run(run())

    progress = read_progress(tmp_path / FOLDER / "a-1.json")
    assert progress is not None
    assert progress.attempt.failed_by == "DAILY_LOSS_LIMIT"


def test_terms_stay_what_they_were_when_the_attempt_began(tmp_path: Path) -> None:
    """A config that is changed in the middle changes nothing for who has begun."""
    follow(tmp_path, make_value("1000"))

    desk = follow(tmp_path, make_value("945", at_s=1), daily_loss_max="90")

    assert len(desk.of(ChallengeFailed)) == 1


def test_value_in_another_currency_is_not_for_it(tmp_path: Path) -> None:
    """It is another portfolio."""
    assert follow(tmp_path, make_value("1000"), currency="EUR").published == []


def test_wrong_terms_and_torn_state_are_refused(tmp_path: Path) -> None:
    """By name, with what to do."""
    with pytest.raises(ConfigError, match="daily_loss_max: expected an amount above 0"):
        follow(tmp_path, daily_loss_max="-1")
    follow(tmp_path, make_value("1000"))
    (tmp_path / FOLDER / "a-1.json").write_text("{}")
    with pytest.raises(ConfigError, match="remove it, or name another attempt_id"):
        follow(tmp_path)


def test_command_shows_each_attempt_and_writes_its_page(tmp_path: Path) -> None:
    """One that still runs, too."""
    state = tmp_path / "state"
    state.mkdir(parents=True)
    follow(state, make_value("1000"), make_value("1020", at_s=1))
    follow(state, make_value("1000"), make_value("900", at_s=1), attempt_id="a-2")

    done = CliRunner().invoke(challenge, ["--run-dir", str(tmp_path), "--json"])
    text = CliRunner().invoke(challenge, ["--run-dir", str(tmp_path), "--attempt", "a-2"])

    found = json.loads(done.stdout)["attempts"]
    assert [(one["attempt_id"], one["status"], one["failed_by"]) for one in found] == [
        ("a-1", "running", None),
        ("a-2", "failed", "DAILY_LOSS_LIMIT"),
    ]
    assert all(Path(one["report"]).is_file() for one in found)
    assert "a-2: failed by DAILY_LOSS_LIMIT" in text.stdout
    assert "a-1" not in text.stdout


def test_command_without_an_attempt_says_what_to_enable(tmp_path: Path) -> None:
    """Exit 3: not yet."""
    done = CliRunner().invoke(challenge, ["--run-dir", str(tmp_path)])

    assert done.exit_code == 3
    assert "enable the worker `challenge`" in done.stderr


def test_page_trusts_no_name(tmp_path: Path) -> None:
    """It is read in a browser."""
    follow(tmp_path, make_value("1000"), make_value("1010", at_s=1), user_id="trader")
    progress = read_progress(tmp_path / FOLDER / "a-1.json")
    assert progress is not None
    terms = progress.terms.__class__(**{**_fields(progress.terms), "user_id": "<script>"})

    page = page_of(progress.attempt, terms, progress.curve)

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_curve_keeps_its_shape_in_bounded_space() -> None:
    """First and last points, and no more than a picture needs."""
    curve = Curve()
    for number in range(10 * POINTS_MAX):
        curve.add(number, make_value(str(number + 1)).equity)
    curve.add(10 * POINTS_MAX, make_value("7").equity, is_last=True)

    assert len(curve.times_ns) == len(curve.values) <= POINTS_MAX
    assert (curve.times_ns[0], curve.times_ns[-1]) == (0, 10 * POINTS_MAX)
    assert curve.values[-1] == 7


def _fields(terms: Any) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in terms.__struct_fields__}
