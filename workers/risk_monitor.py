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
from common.errors import ConfigError, NotReadyError
from common.events.base import DRAFT, Event
from common.events.market import Quote
from common.events.portfolio import PortfolioValued
from common.events.risk import AlertTriggered, ScoreUpdated, Severity
from common.instruments import quote_currency
from common.run_directory import replace_file
from workers.options import read_options
from workers.positions import Positions
from workers.valuation import (
    Holding,
    RiskLimits,
    RiskState,
    Valuation,
    begin_risk,
    follow_risk,
    mark_of,
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


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives the process, so that a restart neither forgets a loss nor repeats an alert or a halt."""

    risk: RiskState
    told: frozenset[str] = frozenset()  # limits that were near or broken at the last look
    halted: frozenset[str] = frozenset()  # limits that trading was halted for, until they are whole


class RiskMonitor(EventWorker):
    """Values the portfolio again and again, and speaks when a limit is near or broken."""

    worker_name = "risk_monitor"
    interests = Quote

    async def start(self, context: WorkerContext) -> None:
        self._options = check_limits(read_options(context, RiskOptions))
        self._marks: dict[tuple[str, str], Decimal] = {}
        self._next_ns = 0
        self._score: float | None = None
        self._path = context.state_directory / STATE_NAME
        self._kept = _read_kept(self._path)

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
        before = self._kept or Kept(risk=begin_risk(options.starting_equity, now_ns))
        risk = follow_risk(before.risk, valuation.equity, now_ns)
        used = shares_used(valuation, risk, options.limits)
        await context.publish(portfolio_valued(valuation, options.currency, now_ns))
        await self._tell_score(used, now_ns, context)
        told = await self._tell_limits(used, before.told, now_ns, context)
        kept = Kept(risk=risk, told=told, halted=await self._halt(used, before.halted, context))
        if kept != self._kept:
            replace_file(self._path, msgspec.json.encode(kept, order="deterministic"))
        self._kept = kept

    async def _tell_score(self, used: dict[str, Decimal], now_ns: int, context: WorkerContext) -> None:
        parts = {name: round(float(min(share / LIMIT_SHARE, Decimal(1))), 3) for name, share in used.items()}
        score = round(max(parts.values(), default=0.0), 2)
        if score == self._score:
            return
        await context.publish(
            ScoreUpdated(**DRAFT, timestamp_ns=now_ns, scope=ALL, score=score, previous_score=self._score, parts=parts)
        )
        self._score = score

    async def _tell_limits(
        self, used: dict[str, Decimal], told: frozenset[str], now_ns: int, context: WorkerContext
    ) -> frozenset[str]:
        """Tell of each limit when it comes near and when it breaks; gives back what is told by now."""
        near = {name: share for name, share in used.items() if share >= self._options.alert_percent}
        broken = {name for name, share in used.items() if share >= LIMIT_SHARE}
        for name, share in sorted(near.items()):
            if f"{name} {'broken' if name in broken else 'near'}" not in told:
                await context.publish(_alert(name, share, now_ns, is_broken=name in broken))
        return frozenset({f"{name} near" for name in near} | {f"{name} broken" for name in broken})

    async def _halt(self, used: dict[str, Decimal], halted: frozenset[str], context: WorkerContext) -> frozenset[str]:
        """Halt trading for each limit that broke since; gives back those that it is halted for."""
        if not self._options.may_halt:
            return frozenset()
        broken = {name: share for name, share in used.items() if share >= LIMIT_SHARE}
        done = halted & broken.keys()
        for name in sorted(broken.keys() - halted):
            refusal = await context.halt(ALL, self.worker_name, f"{name} at {broken[name]:.0f} % of its limit")
            if refusal is None:
                done |= {name}
            else:
                context.log.error("halt_refused", limit=name, reason=refusal)
        return done


def check_limits(options: RiskOptions) -> RiskOptions:
    """Give options back when they make sense.

    Raises:
        ConfigError: A limit is not above 0; without a limit the key is left out.
    """
    amounts = {"starting_equity": options.starting_equity, **msgspec.structs.asdict(options.limits)}
    for name, amount in amounts.items():
        if amount is not None and not (amount.is_finite() and amount > 0):
            raise ConfigError(f"[workers.options.risk_monitor] {name}: expected an amount above 0, was {amount}")
    return options


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
    with Positions.reading(state_directory) as connection:
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


def _read_kept(path: Path) -> Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: expected what the risk monitor wrote, {error}; remove it to begin with a new peak"
        ) from error
