"""Challenge domain: the evaluation of a trader who is to be funded, attempt by attempt. Money is `Decimal`.

The worker `challenge` runs one attempt after the rules of its config.
"""

from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec

from common.events.base import Code, Count, Currency, Event, EventId, Id, Priority, Text, Word

PhaseNumber = Annotated[int, msgspec.Meta(ge=1, le=100)]


class ChallengeEvent(Event, frozen=True, kw_only=True):
    """One attempt of one user at a challenge; amounts are in the currency that its start names."""

    priority = Priority.HIGH

    attempt_id: Id
    user_id: Id
    challenge: Word
    phase: PhaseNumber
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.{self.challenge}.{self.attempt_id}"


class ChallengeStarted(ChallengeEvent, frozen=True, kw_only=True, tag="Challenge.Attempt.Started.v1"):
    """A user begins an attempt, under these terms."""

    kind: ClassVar[str] = "challenge_started"
    emitters = ("workers",)

    phases: PhaseNumber
    currency: Currency
    starting_balance: Decimal
    profit_target: Decimal
    daily_loss_max: Decimal
    drawdown_max: Decimal
    ends_ns: int | None = None


class PhaseAdvanced(ChallengeEvent, frozen=True, kw_only=True, tag="Challenge.Phase.Advanced.v1"):
    """A phase was passed; `phase` is the one that begins."""

    kind: ClassVar[str] = "challenge_phase_advanced"
    emitters = ("workers",)

    previous_phase: PhaseNumber
    equity: Decimal


class ChallengeMetricsUpdated(ChallengeEvent, frozen=True, kw_only=True, tag="Challenge.Metrics.Updated.v1"):
    """Where an attempt stands, measured against its terms."""

    kind: ClassVar[str] = "challenge_metrics_updated"
    priority = Priority.LOW
    emitters = ("workers",)

    equity: Decimal
    profit: Decimal
    daily_loss: Decimal
    drawdown: Decimal
    trading_days: Count


class ChallengeCompleted(ChallengeEvent, frozen=True, kw_only=True, tag="Challenge.Attempt.Completed.v1"):
    """The last phase was passed."""

    kind: ClassVar[str] = "challenge_completed"
    emitters = ("workers",)

    equity: Decimal
    profit: Decimal


class ChallengeFailed(ChallengeEvent, frozen=True, kw_only=True, tag="Challenge.Attempt.Failed.v1"):
    """The attempt is over, because of the rule in `code` or because its time is."""

    kind: ClassVar[str] = "challenge_failed"
    emitters = ("workers",)

    code: Code
    detail: Text
    equity: Decimal
