"""What the tests of workers need: a context that collects, facts of a history, a clock that stands still."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from support.executor_builders import ExecutorHarness, make_report

from common.bus.worker import WorkerContext
from common.clock import NS_PER_DAY, NS_PER_S, VirtualClock
from common.events.base import DRAFT, Event
from common.events.market import Quote
from common.events.portfolio import PortfolioValued
from common.events.venue import ExecutionType
from common.history import Recorded
from common.log import get_log
from executor.book import Book
from executor.entries import Entry
from workers.positions import Positions

START_NS = 1_700_000_000 * NS_PER_S
NEXT_DAY_NS = (START_NS // NS_PER_DAY + 1) * NS_PER_DAY


class Desk:
    """A worker's context: what it published, whom it had halted, and a clock to move."""

    def __init__(self, state_directory: Path, options: Mapping[str, Any] | None = None) -> None:
        self.clock = VirtualClock(START_NS)
        self.published: list[Event] = []
        self.halts: list[tuple[str, str, str]] = []
        self.refusal: str | None = None
        self.context = WorkerContext(
            worker_name="worker",
            publish=self._publish,
            clock=self.clock,
            log=get_log(),
            options=options or {},
            state_directory=state_directory,
            halt=self._halt,
        )

    def of(self, kind: type[Event]) -> list[Any]:
        """What was published of one class."""
        return [event for event in self.published if isinstance(event, kind)]

    async def _publish(self, event: Event) -> None:
        self.published.append(event)

    async def _halt(self, scope: str, by: str, reason: str) -> str | None:
        self.halts.append((scope, by, reason))
        return self.refusal


def facts_of(entries: list[Entry]) -> list[Recorded]:
    """What the executor's history tells of these entries."""
    book = Book()
    return [
        Recorded(
            seq=seq,
            timestamp_ns=entry.timestamp_ns,
            kind=str(type(entry).__struct_config__.tag),
            body=msgspec.to_builtins(entry),
            events=book.apply(entry),
        )
        for seq, entry in enumerate(entries, 1)
    ]


def make_quote(mid: float = 100.0, *, symbol: str = "BTC/USDT", exchange: str = "simulated", seq: int = 1) -> Quote:
    """A quote with a spread of 0.02."""
    return Quote(
        source="gateway", epoch=1, seq=seq, timestamp_ns=START_NS, exchange=exchange, symbol=symbol,
        bid=mid - 0.01, ask=mid + 0.01,
    )  # fmt: skip


def make_value(equity: str, *, at_s: float = 0.0, starting: str = "1000") -> PortfolioValued:
    """What the risk monitor says, so many seconds after the start: all profit is realised."""
    profit = Decimal(equity) - Decimal(starting)
    return PortfolioValued(
        **DRAFT, timestamp_ns=START_NS + int(at_s * NS_PER_S), scope="all", currency="USDT", equity=Decimal(equity),
        cash=Decimal(equity), gross_value=Decimal(0), net_value=Decimal(0), realised_pnl=profit,
        unrealised_pnl=Decimal(0), fees=Decimal(0),
    )  # fmt: skip


def entries_of_a_day() -> list[Entry]:
    """A bought and half sold position, a refused signal, a correction, and a trade that is taken back."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working("s-1", quantity="2")
    harness.fill("s-1", quantity="2", price="100", fee="0.1", filled_quantity="2", leaves_quantity="0")
    harness.have_working("s-2", action="sell", quantity="1")
    sold = {"side": "sell", "quantity": "1", "filled_quantity": "1", "leaves_quantity": "0"}
    harness.fill("s-2", price="110", fee="0.2", **sold)
    harness.signal("s-3", quantity="0.00000001")
    harness.execute(
        make_report(3, "s-2", execution_type=ExecutionType.TRADE_CORRECT, corrects=2, price="112", fee="0.3", **sold)
    )
    harness.have_working("s-4", quantity="1")
    harness.fill("s-4", price="105", fee="0.1", quantity="1", filled_quantity="1", leaves_quantity="0")
    bust = {"quantity": "1", "price": None, "fee": None, "filled_quantity": "0", "leaves_quantity": "0"}
    harness.execute(make_report(5, "s-4", execution_type=ExecutionType.TRADE_CANCEL, corrects=4, **bust))
    return harness.journal.entries


async def until(condition: Callable[[], object], patience_s: float = 20.0) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.001)


def build_positions(entries: Sequence[Entry], directory: Path) -> None:
    """The read model of positions, made of these entries."""

    async def run() -> None:
        model = Positions()
        await model.start(Desk(directory).context)
        await model.apply(facts_of(list(entries)), Desk(directory).context)
        await model.stop()

    asyncio.run(run())
