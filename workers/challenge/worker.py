"""Runs one attempt over what the risk monitor says the portfolio is worth, and writes its report."""

from decimal import Decimal
from pathlib import Path

import msgspec

from common.bus.worker import EventWorker, WorkerContext
from common.clock import NS_PER_DAY
from common.errors import ConfigError, NotReadyError
from common.events.base import DRAFT, Event
from common.events.evaluation import ReportGenerated
from common.events.portfolio import PortfolioValued
from common.money import EXACT
from common.run_directory import replace_file
from workers.challenge.attempt import Attempt, Outcome, revalue, start, trade
from workers.challenge.curve import Curve
from workers.challenge.report import page_of
from workers.challenge.terms import ChallengeTerms, check_terms
from workers.options import read_options
from workers.positions import Positions, first_trades_of_days

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
    interests = PortfolioValued

    async def start(self, context: WorkerContext) -> None:
        terms = check_terms(read_options(context, ChallengeTerms))
        self._folder = context.state_directory / FOLDER
        self._folder.mkdir(exist_ok=True)
        self._progress = read_progress(self._folder / f"{terms.attempt_id}.json")
        self._terms = self._progress.terms if self._progress is not None else terms
        if self._terms != terms:
            context.log.warning("challenge_terms_kept", attempt=terms.attempt_id, advice="name another attempt_id")

    def can_handle(self, event: Event) -> bool:
        return isinstance(event, PortfolioValued) and event.currency == self._terms.currency

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        if not isinstance(event, PortfolioValued):
            return
        now_ns = event.timestamp_ns
        profit = EXACT.subtract(EXACT.add(event.realised_pnl, event.unrealised_pnl), event.fees)
        before = self._progress
        if before is None:
            attempt, events = start(self._terms, now_ns)
            before = Progress(terms=self._terms, attempt=attempt, curve=Curve(), profit_before=profit)
            await self._keep(before, (attempt, events), now_ns, context)
        elif before.attempt.is_running:
            equity = EXACT.add(self._terms.starting_balance, EXACT.subtract(profit, before.profit_before))
            attempt = _with_trades(before.attempt, context.state_directory)
            await self._keep(before, revalue(attempt, self._terms, equity, now_ns), now_ns, context)

    async def _keep(self, before: Progress, outcome: Outcome, now_ns: int, context: WorkerContext) -> None:
        """Write the state first: an event that is told twice does less harm than an attempt that forgets its end."""
        attempt, events = outcome
        before.curve.add(now_ns, attempt.equity, is_last=not attempt.is_running)
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


def _with_trades(attempt: Attempt, state_directory: Path) -> Attempt:
    """Count the days of trading since, as the read model of positions has them: no fill is missed there."""
    next_day_ns = (max(attempt.trading_days, default=-1) + 1) * NS_PER_DAY
    try:
        with Positions.reading(state_directory) as connection:
            for timestamp_ns in first_trades_of_days(connection, max(attempt.phase_started_ns, next_day_ns)):
                attempt = trade(attempt, timestamp_ns)
    except NotReadyError:
        pass  # nothing was traded yet
    return attempt


def write_report(folder: Path, progress: Progress) -> Path:
    """Write the page of an attempt beside its state; gives it back."""
    page = folder / f"{progress.terms.attempt_id}.html"
    replace_file(page, page_of(progress.attempt, progress.terms, progress.curve).encode())
    return page


def read_progress(path: Path) -> Progress | None:
    """What is kept of an attempt; None where there is none yet.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: expected what the worker `challenge` wrote, {error}; remove it, or name another attempt_id"
        ) from error
