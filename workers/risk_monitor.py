"""The risk monitor: what the portfolio is worth, how much of its risk it uses, and a halt when that is too much.

Off the hot path and independent of the executor's own limits: another pair of eyes, with other code.
"""

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import msgspec

from common.bus.worker import EventWorker, WorkerContext
from common.clock import NS_PER_MS
from common.errors import NotReadyError
from common.events.base import DRAFT, Event
from common.events.market import Quote
from common.events.portfolio import PortfolioValued
from common.events.risk import AlertTriggered, ScoreUpdated, Severity
from common.run_directory import replace_file
from workers.options import read_options
from workers.positions import SCHEMA_VERSION, path_of
from workers.sqlite_model import open_model
from workers.valuation import (
    Holding,
    RiskLimits,
    RiskState,
    Valuation,
    begin_risk,
    follow_risk,
    mark_of,
    quote_currency,
    shares_used,
    value,
)

STATE_NAME = "risk-monitor.json"
ALL = "all"
LIMIT_SHARE = 100


class RiskOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workers.options.risk_monitor]`."""

    currency: str = "USDT"
    starting_equity: Decimal = Decimal(100_000)
    interval_ms: Annotated[int, msgspec.Meta(gt=0)] = 1_000
    limits: RiskLimits = RiskLimits()
    alert_percent: Annotated[int, msgspec.Meta(gt=0)] = 80  # of a limit: time to look before it is broken
    may_halt: bool = False  # halt trading when a limit is broken; a person resumes


class RiskMonitor(EventWorker):
    """Values the portfolio again and again, and speaks when a limit is near or broken."""

    worker_name = "risk_monitor"
    interests = Quote

    async def start(self, context: WorkerContext) -> None:
        self._options = read_options(context, RiskOptions)
        self._marks: dict[tuple[str, str], Decimal] = {}
        self._next_ns = 0
        self._score: float | None = None
        self._told: set[str] = set()  # limits that were near or broken the last time
        self._halted: set[str] = set()
        self._path = context.state_directory / STATE_NAME
        self._state = _read_state(self._path)

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        if not isinstance(event, Quote):
            return
        mark = mark_of(event)
        if mark is not None:
            self._marks[event.exchange, event.symbol] = mark
        now_ns = context.clock.now_ns()
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + self._options.interval_ms * NS_PER_MS
            await self._look(now_ns, context)

    async def _look(self, now_ns: int, context: WorkerContext) -> None:
        options = self._options
        try:
            holdings = read_holdings(context.state_directory, options.currency)
        except NotReadyError:
            return  # the read model is not there yet
        valuation = value(holdings, self._marks, options.starting_equity)
        before = self._state or begin_risk(options.starting_equity, now_ns)
        state = follow_risk(before, valuation.equity, now_ns)
        if state != self._state:
            replace_file(self._path, msgspec.json.encode(state))
        self._state = state
        used = shares_used(valuation, state, options.limits)
        await context.publish(portfolio_valued(valuation, options.currency, now_ns))
        await self._tell_score(used, now_ns, context)
        await self._tell_limits(used, now_ns, context)

    async def _tell_score(self, used: dict[str, Decimal], now_ns: int, context: WorkerContext) -> None:
        parts = {name: round(float(min(share / LIMIT_SHARE, Decimal(1))), 3) for name, share in used.items()}
        score = round(max(parts.values(), default=0.0), 2)
        if score == self._score:
            return
        await context.publish(
            ScoreUpdated(**DRAFT, timestamp_ns=now_ns, scope=ALL, score=score, previous_score=self._score, parts=parts)
        )
        self._score = score

    async def _tell_limits(self, used: dict[str, Decimal], now_ns: int, context: WorkerContext) -> None:
        """Tell of each limit when it comes near and when it breaks; and halt for a broken one, until it is whole."""
        near = {name for name, share in used.items() if share >= self._options.alert_percent}
        broken = {name for name, share in used.items() if share >= LIMIT_SHARE}
        told = {f"{name} near" for name in near} | {f"{name} broken" for name in broken}
        for name in sorted(near):
            if f"{name} {'broken' if name in broken else 'near'}" in self._told:
                continue
            await context.publish(_alert(name, used[name], now_ns, is_broken=name in broken))
        self._told = told
        self._halted &= broken
        for name in sorted(broken - self._halted) if self._options.may_halt else ():
            refusal = await context.halt(ALL, self.worker_name, f"{name} at {used[name]:.0f} % of its limit")
            if refusal is None:
                self._halted.add(name)
            else:
                context.log.error("halt_refused", limit=name, reason=refusal)


def portfolio_valued(valuation: Valuation, currency: str, now_ns: int) -> PortfolioValued:
    """The event that tells of a valuation."""
    return PortfolioValued(
        **DRAFT,
        timestamp_ns=now_ns,
        scope=ALL,
        currency=currency,
        equity=valuation.equity,
        cash=valuation.cash,
        gross_value=valuation.gross_value,
        net_value=valuation.net_value,
        realised_pnl=valuation.realised_pnl,
        unrealised_pnl=valuation.unrealised_pnl,
        fees=valuation.fees,
    )


def read_holdings(state_directory: Path, currency: str) -> list[Holding]:
    """All positions in one quote currency, flat ones too, as the read model has them.

    Raises:
        NotReadyError: There is no read model yet.
    """
    with open_model(path_of(state_directory), SCHEMA_VERSION) as connection:
        rows = connection.execute("SELECT * FROM positions").fetchall()
    return [_holding(row) for row in rows if quote_currency(row["symbol"]) == currency]


def _holding(row: sqlite3.Row) -> Holding:
    def amount(name: str) -> Decimal | None:
        return None if row[name] is None else Decimal(row[name])

    return Holding(
        row["strategy"], row["exchange"], row["symbol"], Decimal(row["quantity"]), amount("entry_price"),
        amount("mark_price"), Decimal(row["realised_pnl"]), Decimal(row["fees"]),
    )  # fmt: skip


def _alert(name: str, share: Decimal, now_ns: int, *, is_broken: bool) -> AlertTriggered:
    return AlertTriggered(
        **DRAFT,
        timestamp_ns=now_ns,
        scope=ALL,
        code=f"{name.upper()}_{'LIMIT_BROKEN' if is_broken else 'LIMIT_NEAR'}",
        severity=Severity.CRITICAL if is_broken else Severity.WARNING,
        detail=f"{name} uses {share:.1f} % of its limit",
    )


def _read_state(path: Path) -> RiskState | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RiskState)
    except (OSError, msgspec.DecodeError):
        return None
