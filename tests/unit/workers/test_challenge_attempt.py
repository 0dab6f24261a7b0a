"""An attempt at a challenge: what passes it, what fails it, and what is told of both."""

from decimal import Decimal

import pytest
from support.worker_builders import START_NS

from common.clock import NS_PER_DAY, NS_PER_S
from common.errors import ConfigError
from common.events.challenge import (
    ChallengeCompleted,
    ChallengeFailed,
    ChallengeMetricsUpdated,
    ChallengeStarted,
    PhaseAdvanced,
)
from common.events.evaluation import EvaluationStatus, EvaluationStatusChanged, RuleViolated
from workers.challenge.attempt import Attempt, revalue, start, trade
from workers.challenge.terms import ChallengeTerms, PhaseTerms, check_terms

TERMS = ChallengeTerms(
    starting_balance=Decimal(1_000),
    daily_loss_max=Decimal(50),
    total_loss_max=Decimal(100),
    phases=(
        PhaseTerms(profit_target=Decimal(100), trading_days_min=1),
        PhaseTerms(profit_target=Decimal(50), days_max=10),
    ),
)


def at(seconds: float) -> int:
    """A time after the start."""
    return START_NS + int(seconds * NS_PER_S)


def begun() -> Attempt:
    """An attempt that has just begun."""
    return start(TERMS, START_NS)[0]


def kinds(events: list[object]) -> list[type]:
    """The classes of events."""
    return [type(event) for event in events]


def test_start_tells_the_terms() -> None:
    """Who reads the event needs no config."""
    attempt, events = start(TERMS, START_NS)

    assert attempt.is_running
    assert kinds(events) == [ChallengeStarted, EvaluationStatusChanged]
    assert events[0].starting_balance == 1_000


def test_target_without_a_trading_day_passes_nothing() -> None:
    """Profit alone is luck."""
    attempt, events = revalue(begun(), TERMS, Decimal(1_200), at(1))

    assert (attempt.phase, kinds(events)) == (1, [ChallengeMetricsUpdated])


def test_target_and_trading_days_advance_the_phase() -> None:
    """The next phase counts its profit from here, and its days anew."""
    attempt, events = revalue(trade(begun(), at(1)), TERMS, Decimal(1_100), at(2))

    assert (attempt.phase, attempt.phase_equity, attempt.trading_days) == (2, 1_100, ())
    assert kinds(events) == [ChallengeMetricsUpdated, PhaseAdvanced]


def test_last_phase_completes_the_challenge() -> None:
    """And nothing moves it any more."""
    attempt, _ = revalue(trade(begun(), at(1)), TERMS, Decimal(1_100), at(2))
    attempt, events = revalue(attempt, TERMS, Decimal(1_150), at(3))

    assert attempt.status is EvaluationStatus.PASSED
    assert kinds(events) == [ChallengeMetricsUpdated, ChallengeCompleted, EvaluationStatusChanged]
    assert revalue(attempt, TERMS, Decimal(0), at(4)) == (attempt, [])


@pytest.mark.parametrize(
    ("course", "code"),
    [
        ([(1, "951"), (2, "950")], "DAILY_LOSS_LIMIT"),
        ([(1, "960"), (86_400, "955"), (2 * 86_400, "930"), (3 * 86_400, "900")], "TOTAL_LOSS_LIMIT"),
        ([(1, "1040"), (86_400, "991")], None),
        ([(1, "1040"), (86_400, "990")], "DAILY_LOSS_LIMIT"),
    ],
)
def test_loss_that_reaches_its_limit_fails(course: list[tuple[int, str]], code: str | None) -> None:
    """A day's loss counts from what the day before ended with, the total from the starting balance."""
    attempt = begun()
    events: list[object] = []
    for seconds, equity in course:
        attempt, told = revalue(attempt, TERMS, Decimal(equity), at(seconds))
        events += told

    assert attempt.failed_by == code
    assert (ChallengeFailed in kinds(events)) == (RuleViolated in kinds(events)) == (code is not None)


def test_loss_that_recovers_has_failed_all_the_same() -> None:
    """A rule that was broken stays broken."""
    attempt, _ = revalue(begun(), TERMS, Decimal(940), at(1))

    assert revalue(attempt, TERMS, Decimal(2_000), at(2))[0].status is EvaluationStatus.FAILED


def test_phase_ends_with_its_time() -> None:
    """Ten days after its own beginning, not after that of the attempt."""
    attempt, _ = revalue(trade(begun(), at(1)), TERMS, Decimal(1_100), START_NS + 5 * NS_PER_DAY)
    attempt, _ = revalue(attempt, TERMS, Decimal(1_100), START_NS + 14 * NS_PER_DAY)
    assert attempt.is_running

    attempt, _ = revalue(attempt, TERMS, Decimal(1_100), START_NS + 15 * NS_PER_DAY)

    assert attempt.failed_by == "TIME_OVER"


def test_day_counts_once_however_often_it_is_traded() -> None:
    """Days, not trades."""
    attempt = begun()
    for seconds in (1, 2, 3):
        attempt = trade(attempt, at(seconds))

    assert len(attempt.trading_days) == 1


@pytest.mark.parametrize(
    "terms",
    [
        ChallengeTerms(starting_balance=Decimal(0)),
        ChallengeTerms(daily_loss_max=Decimal("NaN")),
        ChallengeTerms(phases=()),
        ChallengeTerms(phases=(PhaseTerms(profit_target=Decimal(-1)),)),
    ],
)
def test_terms_that_nobody_can_meet_are_refused(terms: ChallengeTerms) -> None:
    """At the start, by name."""
    with pytest.raises(ConfigError, match="challenge"):
        check_terms(terms)
