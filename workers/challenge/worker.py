"""Runs one attempt over what the risk monitor says the portfolio is worth, and writes its report."""

from decimal import Decimal
from pathlib import Path

import msgspec

from common.bus.worker import EventWorker, WorkerContext
from common.events.base import DRAFT, Event
from common.events.evaluation import ReportGenerated
from common.events.portfolio import PortfolioValued
from common.events.trading import OrderFilled, OrderPartiallyFilled
from common.run_directory import replace_file
from workers.challenge.attempt import Attempt, Outcome, revalue, start, trade
from workers.challenge.curve import Curve
from workers.challenge.report import page_of, summary_of
from workers.challenge.terms import ChallengeTerms, check_terms
from workers.options import read_options

FOLDER = "challenges"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept between two lives: the terms that it began with, too, so that a changed config changes nothing."""

    terms: ChallengeTerms
    attempt: Attempt
    curve: Curve
    profit_before: Decimal  # what had been won and lost before the attempt began


class Challenge(EventWorker):
    """Starts the attempt that the config names with the first valuation, and follows it to its end."""

    worker_name = "challenge"
    interests = (PortfolioValued, OrderFilled, OrderPartiallyFilled)

    async def start(self, context: WorkerContext) -> None:
        terms = check_terms(read_options(context, ChallengeTerms))
        self._folder = context.state_directory / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._progress = read_progress(self._folder / f"{terms.attempt_id}.json")
        self._terms = self._progress.terms if self._progress is not None else terms

    def can_handle(self, event: Event) -> bool:
        return not isinstance(event, PortfolioValued) or event.currency == self._terms.currency

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        if isinstance(event, PortfolioValued):
            await self._on_value(event, context)
        elif self._progress is not None:
            attempt = trade(self._progress.attempt, event.timestamp_ns)
            self._progress = msgspec.structs.replace(self._progress, attempt=attempt)

    async def _on_value(self, event: PortfolioValued, context: WorkerContext) -> None:
        now_ns, profit = event.timestamp_ns, event.realised_pnl + event.unrealised_pnl - event.fees
        before = self._progress
        if before is None:
            attempt, events = start(self._terms, now_ns)
            before = Progress(terms=self._terms, attempt=attempt, curve=Curve(), profit_before=profit)
            await self._keep(before, (attempt, events), now_ns, context)
            return
        if before.attempt.is_running:
            equity = self._terms.starting_balance + profit - before.profit_before
            await self._keep(before, revalue(before.attempt, self._terms, equity, now_ns), now_ns, context)

    async def _keep(self, before: Progress, outcome: Outcome, now_ns: int, context: WorkerContext) -> None:
        """Write the state first: an event that is told twice does less harm than an attempt that forgets its end."""
        attempt, events = outcome
        before.curve.add(now_ns, attempt.equity)
        self._progress = msgspec.structs.replace(before, attempt=attempt)
        replace_file(self._folder / f"{self._terms.attempt_id}.json", msgspec.json.encode(self._progress))
        for event in events:
            await context.publish(event)
        if before.attempt.is_running and not attempt.is_running:
            await self._report(self._progress, now_ns, context)

    async def _report(self, progress: Progress, now_ns: int, context: WorkerContext) -> None:
        page = write_report(self._folder, progress)
        context.log.info("challenge_ended", attempt=self._terms.attempt_id, status=progress.attempt.status.value,
                         failed_by=progress.attempt.failed_by, report=str(page))  # fmt: skip
        await context.publish(
            ReportGenerated(
                **DRAFT,
                timestamp_ns=now_ns,
                evaluation_id=self._terms.attempt_id,
                report_id=self._terms.attempt_id,
                report_format="html",
                size_bytes=page.stat().st_size,
            )
        )


def write_report(folder: Path, progress: Progress) -> Path:
    """Write the page and the figures of an attempt beside its state; gives back the page."""
    page = folder / f"{progress.terms.attempt_id}.html"
    replace_file(page, page_of(progress.attempt, progress.terms, progress.curve).encode())
    replace_file(
        folder / f"{progress.terms.attempt_id}.summary.json",
        msgspec.json.encode(summary_of(progress.attempt, progress.terms)),
    )
    return page


def read_progress(path: Path) -> Progress | None:
    """What is kept of an attempt; None where there is none yet."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
