"""One attempt at a challenge: a state that valuations and trades move on, with the events that tell of it. Pure."""

from decimal import Decimal
from typing import TypedDict

import msgspec

from common.clock import NS_PER_DAY
from common.events.base import DRAFT, Event
from common.events.challenge import (
    ChallengeCompleted,
    ChallengeFailed,
    ChallengeMetricsUpdated,
    ChallengeStarted,
    PhaseAdvanced,
)
from common.events.evaluation import EvaluationStatus, EvaluationStatusChanged, RuleViolated
from common.money import EXACT, ZERO
from workers.challenge.terms import ChallengeTerms, PhaseTerms

DAILY_LOSS, TOTAL_LOSS, TIME_OVER = "DAILY_LOSS_LIMIT", "TOTAL_LOSS_LIMIT", "TIME_OVER"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attempt stands. `phase` counts from 1; what ends in `_equity` is in the currency of the terms."""

    status: EvaluationStatus = EvaluationStatus.PENDING
    phase: int = 1
    equity: Decimal = ZERO
    phase_equity: Decimal = ZERO
    day_equity: Decimal = ZERO
    day: int = 0
    lowest_equity: Decimal = ZERO
    worst_daily_loss: Decimal = ZERO
    started_ns: int = 0
    phase_started_ns: int = 0
    ended_ns: int | None = None
    failed_by: str | None = None
    trading_days: tuple[int, ...] = ()  # of this phase, in days since 1970

    @property
    def is_running(self) -> bool:
        """Tell whether it can still be passed or failed."""
        return self.status is EvaluationStatus.RUNNING

    def profit(self, terms: ChallengeTerms) -> Decimal:
        """What was won since the start."""
        return EXACT.subtract(self.equity, terms.starting_balance)

    def daily_loss(self) -> Decimal:
        """What was lost today."""
        return max(EXACT.subtract(self.day_equity, self.equity), ZERO)

    def total_loss(self, terms: ChallengeTerms) -> Decimal:
        """What was lost since the start."""
        return max(EXACT.subtract(terms.starting_balance, self.equity), ZERO)


Outcome = tuple[Attempt, list[Event]]


def start(terms: ChallengeTerms, now_ns: int) -> Outcome:
    """Begin an attempt with the starting balance."""
    balance = terms.starting_balance
    attempt = Attempt(
        status=EvaluationStatus.RUNNING,
        equity=balance,
        phase_equity=balance,
        day_equity=balance,
        day=now_ns // NS_PER_DAY,
        lowest_equity=balance,
        started_ns=now_ns,
        phase_started_ns=now_ns,
    )
    phase = terms.phases[0]
    started = ChallengeStarted(
        **DRAFT,
        timestamp_ns=now_ns,
        **_names(terms, 1),
        phases=len(terms.phases),
        currency=terms.currency,
        starting_balance=balance,
        profit_target=phase.profit_target,
        daily_loss_max=terms.daily_loss_max,
        drawdown_max=terms.total_loss_max,
        ends_ns=None if phase.days_max is None else now_ns + phase.days_max * NS_PER_DAY,
    )
    return attempt, [started, _status(terms, EvaluationStatus.PENDING, attempt, now_ns)]


def trade(attempt: Attempt, timestamp_ns: int) -> Attempt:
    """Something was traded: its day counts."""
    day = timestamp_ns // NS_PER_DAY
    if not attempt.is_running or timestamp_ns < attempt.phase_started_ns or day in attempt.trading_days:
        return attempt
    return msgspec.structs.replace(attempt, trading_days=(*attempt.trading_days, day))


def revalue(attempt: Attempt, terms: ChallengeTerms, equity: Decimal, now_ns: int) -> Outcome:
    """The portfolio is worth this much now: check every rule. Losses come first."""
    if not attempt.is_running:
        return attempt, []
    day = now_ns // NS_PER_DAY
    if day > attempt.day:
        # The day begins with what the one before ended with.
        attempt = msgspec.structs.replace(attempt, day=day, day_equity=attempt.equity)
    attempt = msgspec.structs.replace(attempt, equity=equity, lowest_equity=min(attempt.lowest_equity, equity))
    attempt = msgspec.structs.replace(attempt, worst_daily_loss=max(attempt.worst_daily_loss, attempt.daily_loss()))
    phase = terms.phases[attempt.phase - 1]
    broken = _broken_rule(attempt, terms, phase, now_ns)
    if broken is not None:
        return _fail(attempt, terms, *broken, now_ns)
    has_target = EXACT.subtract(equity, attempt.phase_equity) >= phase.profit_target
    if has_target and len(attempt.trading_days) >= phase.trading_days_min:
        return _pass_phase(attempt, terms, now_ns)
    return attempt, [metrics_of(attempt, terms, now_ns)]


def metrics_of(attempt: Attempt, terms: ChallengeTerms, now_ns: int) -> ChallengeMetricsUpdated:
    """The figures of an attempt as an event."""
    return ChallengeMetricsUpdated(
        **DRAFT,
        timestamp_ns=now_ns,
        **_names(terms, attempt.phase),
        equity=attempt.equity,
        profit=attempt.profit(terms),
        daily_loss=attempt.daily_loss(),
        drawdown=attempt.total_loss(terms),
        trading_days=len(attempt.trading_days),
    )


def _broken_rule(
    attempt: Attempt, terms: ChallengeTerms, phase: PhaseTerms, now_ns: int
) -> tuple[str, Decimal, Decimal] | None:
    """The code of the first rule that is broken, its limit and what was there."""
    if attempt.daily_loss() >= terms.daily_loss_max:
        return DAILY_LOSS, terms.daily_loss_max, attempt.daily_loss()
    if attempt.total_loss(terms) >= terms.total_loss_max:
        return TOTAL_LOSS, terms.total_loss_max, attempt.total_loss(terms)
    if phase.days_max is not None and now_ns >= attempt.phase_started_ns + phase.days_max * NS_PER_DAY:
        return TIME_OVER, Decimal(phase.days_max), Decimal((now_ns - attempt.phase_started_ns) // NS_PER_DAY)
    return None


def _fail(attempt: Attempt, terms: ChallengeTerms, code: str, limit: Decimal, actual: Decimal, now_ns: int) -> Outcome:
    failed = msgspec.structs.replace(attempt, status=EvaluationStatus.FAILED, ended_ns=now_ns, failed_by=code)
    unit = "days" if code == TIME_OVER else terms.currency
    detail = f"{code}: limit {limit} {unit}, was {actual}"
    violated = RuleViolated(
        **DRAFT,
        timestamp_ns=now_ns,
        evaluation_id=terms.attempt_id,
        code=code,
        limit=limit,
        actual=actual,
        is_fatal=True,
        detail=detail,
    )
    failure = ChallengeFailed(
        **DRAFT, timestamp_ns=now_ns, **_names(terms, attempt.phase), code=code, detail=detail, equity=attempt.equity
    )
    return failed, [
        metrics_of(failed, terms, now_ns),
        violated,
        failure,
        _status(terms, EvaluationStatus.RUNNING, failed, now_ns),
    ]


def _pass_phase(attempt: Attempt, terms: ChallengeTerms, now_ns: int) -> Outcome:
    metrics = metrics_of(attempt, terms, now_ns)
    if attempt.phase == len(terms.phases):
        passed = msgspec.structs.replace(attempt, status=EvaluationStatus.PASSED, ended_ns=now_ns)
        completed = ChallengeCompleted(
            **DRAFT,
            timestamp_ns=now_ns,
            **_names(terms, attempt.phase),
            equity=attempt.equity,
            profit=attempt.profit(terms),
        )
        return passed, [metrics, completed, _status(terms, EvaluationStatus.RUNNING, passed, now_ns)]
    advanced = msgspec.structs.replace(
        attempt, phase=attempt.phase + 1, phase_equity=attempt.equity, phase_started_ns=now_ns, trading_days=()
    )
    event = PhaseAdvanced(
        **DRAFT,
        timestamp_ns=now_ns,
        **_names(terms, advanced.phase),
        previous_phase=attempt.phase,
        equity=attempt.equity,
    )
    return advanced, [metrics, event]


class _Names(TypedDict):
    attempt_id: str
    user_id: str
    challenge: str
    phase: int


def _names(terms: ChallengeTerms, phase: int) -> _Names:
    return {"attempt_id": terms.attempt_id, "user_id": terms.user_id, "challenge": terms.name, "phase": phase}


def _status(
    terms: ChallengeTerms, previous: EvaluationStatus, attempt: Attempt, now_ns: int
) -> EvaluationStatusChanged:
    return EvaluationStatusChanged(
        **DRAFT,
        timestamp_ns=now_ns,
        evaluation_id=terms.attempt_id,
        previous_status=previous,
        status=attempt.status,
        reason=attempt.failed_by,
    )
