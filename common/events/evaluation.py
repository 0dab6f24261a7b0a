"""Evaluation domain: rules that are checked, figures that are calculated, reports of both.

The worker `challenge` sends what belongs to an attempt; other figures are for a service beside the pipeline.
"""

import enum
from decimal import Decimal
from typing import ClassVar, Literal

from common.events.base import Code, Count, Event, EventId, Id, Name, Priority, Text, Word


class EvaluationEvent(Event, frozen=True, kw_only=True):
    """One evaluation: of an attempt at a challenge, of a strategy or of an account."""

    evaluation_id: Id
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.evaluation.{self.evaluation_id}"


class RuleViolated(EvaluationEvent, frozen=True, kw_only=True, tag="Evaluation.Rule.Violated.v1"):
    """A rule was broken; where `is_fatal`, the evaluation ends with it. `limit` and `actual` are in the rule's unit."""

    kind: ClassVar[str] = "rule_violated"
    priority = Priority.CRITICAL
    emitters = ("workers",)

    code: Code
    limit: Decimal | None = None
    actual: Decimal | None = None
    is_fatal: bool
    detail: Text


class MetricCalculated(EvaluationEvent, frozen=True, kw_only=True, tag="Evaluation.Metric.Calculated.v1"):
    """A figure over a time, such as a Sharpe ratio or a profit factor."""

    kind: ClassVar[str] = "metric_calculated"
    priority = Priority.LOW

    metric: Word
    value: Decimal
    unit: Name
    from_ns: int
    until_ns: int


class ReportGenerated(EvaluationEvent, frozen=True, kw_only=True, tag="Evaluation.Report.Generated.v1"):
    """A report can be fetched under `report_id` from the service that made it."""

    kind: ClassVar[str] = "report_generated"
    priority = Priority.LOW
    emitters = ("workers",)

    report_id: Id
    report_format: Literal["csv", "html", "json", "pdf"]
    size_bytes: Count


class EvaluationStatus(enum.StrEnum):
    """Where an evaluation stands."""

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EvaluationStatusChanged(EvaluationEvent, frozen=True, kw_only=True, tag="Evaluation.Status.Changed.v1"):
    """An evaluation began, or came to its end."""

    kind: ClassVar[str] = "evaluation_status_changed"
    priority = Priority.HIGH
    emitters = ("workers",)

    previous_status: EvaluationStatus
    status: EvaluationStatus
    reason: Code | None = None
