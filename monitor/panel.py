"""The live panel: what stands in the way of trading, processes, flow, latency, positions and alarms, for a terminal."""

from collections import deque
from datetime import UTC, datetime
from decimal import Decimal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.clock import NS_PER_S
from common.events.base import Message
from common.events.risk import AlarmRaised, Severity, TradingState, TradingStateChanged
from common.events.system import ProcessReported, ProcessState
from common.events.trading import PositionEvent
from common.money import EXACT, ZERO
from monitor.tally import Tally

STATE_STYLES = {
    ProcessState.READY: "green",
    ProcessState.STARTING: "yellow",
    ProcessState.STOPPING: "yellow",
    ProcessState.STOPPED: "dim",
    ProcessState.FAILED: "bold red",
}
SEVERITY_STYLES = {Severity.INFO: "", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}
ALARMS_SHOWN = 5
# Columns of a terminal from which on a position's amounts fit beside each other.
WIDE = 104


class Rates:
    """Counts per second between two looks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        self._rates: dict[str, float] = {}

    def per_second(self, name: str, count: int, now_ns: int) -> float:
        """The rate of a counter, over at least half a second so that it does not flicker."""
        last_count, last_ns = self._last.setdefault(name, (count, now_ns))
        if now_ns - last_ns >= NS_PER_S // 2:
            self._rates[name] = max(0, count - last_count) * NS_PER_S / (now_ns - last_ns)
            self._last[name] = (count, now_ns)
        return self._rates.get(name, 0.0)


class LivePanel:
    """Draws what a tally and the newest position events say."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._rates = Rates()
        self._positions: dict[tuple[str, str, str], PositionEvent] = {}
        self._restricted: dict[str, TradingStateChanged] = {}
        self._alarms: deque[AlarmRaised] = deque(maxlen=ALARMS_SHOWN)

    def on_event(self, event: Message) -> None:
        """Remember the newest state of a position and of the kill switch, and the newest alarms."""
        match event:
            case PositionEvent():
                self._positions[event.strategy, event.exchange, event.symbol] = event
            case TradingStateChanged(state=TradingState.ACTIVE):
                self._restricted.pop(event.scope, None)
            case TradingStateChanged():
                self._restricted[event.scope] = event
            case AlarmRaised():
                self._alarms.appendleft(event)

    def draw(self, tally: Tally, now_ns: int, subtitle: str) -> RenderableType:
        """The whole panel."""
        parts: list[RenderableType] = [self._processes(tally), self._flow(tally, now_ns), self._latency(tally)]
        parts.append(_Positions(self._positions))
        if self._alarms:
            parts.append(self._alarm_table())
        return Panel(
            Group(*self._kill_switch(tally), *(line for part in parts for line in (part, Text()))),
            title=self._title,
            subtitle=subtitle,
            border_style="cyan",
        )

    def _processes(self, tally: Tally) -> Table:
        table = _table("process", "state", ">pid", ">restarts", ">turns/s", "waits for")
        for report in tally.newest():
            lived_ns = max(1, report.timestamp_ns - report.started_ns)
            table.add_row(
                report.source,
                Text(report.state.value, STATE_STYLES[report.state]),
                str(report.pid),
                str(tally.restarts(report.source)),
                f"{report.turns * NS_PER_S / lived_ns:,.0f}",
                report.detail or _standing(report),
            )
        return table

    def _flow(self, tally: Tally, now_ns: int) -> Table:
        gateway, executor = tally.counters("gateway"), tally.counters("executor")
        strategies, exchange = tally.counters("strategy"), tally.counters("exchange")
        table = _table("flow", ">count", ">per s")
        rows = {
            "ticks published": gateway.get("ticks_published", 0),
            "ticks received, all strategies": strategies.get("ticks_received", 0),
            "ticks dropped": strategies.get("ticks_dropped", 0),
            "signals emitted": strategies.get("signals_emitted", 0),
            "signals acknowledged": strategies.get("signals_acknowledged", 0),
            "signals denied": executor.get("signals_denied", 0),
            "orders accepted": executor.get("orders_accepted", 0),
            "fills": exchange.get("executions_trade", 0),
        }
        for name, count in rows.items():
            is_bad = name == "ticks dropped" and count
            rate = self._rates.per_second(name, count, now_ns)
            table.add_row(name, Text(f"{count:,}", "bold red" if is_bad else ""), f"{rate:,.0f}")
        return table

    def _latency(self, tally: Tally) -> Table:
        summary = tally.latency("tick_to_ack").summary_us()
        table = _table("tick to acknowledgement, µs", *(f">{name.replace('_', '.')}" for name in summary))
        table.add_row("", *("-" if value is None else f"{value:,.0f}" for value in summary.values()))
        return table

    def _kill_switch(self, tally: Tally) -> list[Text]:
        """A line for each scope that may not trade freely; nothing while all may."""
        lines = [
            Text(f"{event.state.value.upper()} {event.scope} by {event.by}: {event.reason}", "bold red")
            for _, event in sorted(self._restricted.items())
        ]
        # What was restricted before we listened is only counted.
        untold = count_restricted(tally) - len(lines)
        if untold > 0:
            lines.append(
                Text(f"RESTRICTED: {untold} scope{'s' * (untold > 1)} more, see `tickpulse trading`", "bold red")
            )
        if any(report.counters.get("is_halted") for report in tally.newest() if report.role == "exchange"):
            lines.append(Text("HALTED by the exchange itself, see `tickpulse ledger`", "bold red"))
        return [*lines, Text()] if lines else []

    def _alarm_table(self) -> Table:
        table = _table("alarm", "from", "code")
        for column in table.columns:
            column.no_wrap = True
        # What is said is cut, not when and what it was: the whole text is in the log.
        table.expand = True
        table.add_column("about", ratio=1, no_wrap=True, overflow="ellipsis")
        for alarm in self._alarms:
            moment = datetime.fromtimestamp(alarm.timestamp_ns // NS_PER_S, tz=UTC)
            code = Text(alarm.code, SEVERITY_STYLES[alarm.severity])
            table.add_row(f"{moment:%H:%M:%S}", alarm.source, code, f"{alarm.subject}: {alarm.detail}")
        return table


def count_restricted(tally: Tally) -> int:
    """How many scopes of the kill switch are not active, as the executor that runs now reports it."""
    return sum(report.counters.get("scopes_restricted", 0) for report in tally.newest() if report.role == "executor")


class _Positions:
    """The table of positions, as wide as there is room for."""

    def __init__(self, positions: dict[tuple[str, str, str], PositionEvent]) -> None:
        self._positions = positions

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_wide = console.width >= WIDE
        amounts = ("mark", "realised", "unrealised", "fees") if is_wide else ("result",)
        table = _table("position", "instrument", *(f">{name}" for name in ("quantity", "entry", *amounts)))
        for (strategy, exchange, symbol), event in sorted(self._positions.items()):
            results = (event.mark_price, event.realised_pnl, event.unrealised_pnl, event.fees)
            shown = (event.entry_price, *(results if is_wide else (_result_of(event),)))
            table.add_row(
                strategy,
                f"{exchange}.{symbol}",
                f"{event.quantity:f}",
                *("-" if amount is None else f"{amount:,.2f}" for amount in shown),
            )
        yield table


def _result_of(event: PositionEvent) -> Decimal:
    """What a position has brought so far: realised and unrealised, less fees."""
    return EXACT.subtract(EXACT.add(event.realised_pnl, event.unrealised_pnl or ZERO), event.fees)


def _standing(report: ProcessReported) -> str:
    """How far the read models of the workers are behind the executor, in facts; how much the log lacks, in messages."""
    counters = report.counters
    if report.role == "recorder":
        return f"{counters.get('last_id', 0):,} recorded, {counters.get('log_lost', 0):,} lost"
    return f"behind {counters['behind']:,}" if "behind" in counters else ""


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    table.columns[0].no_wrap = True  # a name that is cut is a name that cannot be typed
    return table
