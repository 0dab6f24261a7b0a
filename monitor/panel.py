"""The live panel: processes, flow, latency and positions, for a terminal."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from common.clock import NS_PER_S
from common.events.system import ProcessReported, ProcessState
from common.events.trading import PositionEvent
from monitor.tally import Tally

STATE_STYLES = {
    ProcessState.READY: "green",
    ProcessState.STARTING: "yellow",
    ProcessState.STOPPING: "yellow",
    ProcessState.STOPPED: "dim",
    ProcessState.FAILED: "bold red",
}


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

    def on_position(self, event: PositionEvent) -> None:
        """Remember the newest state of a position."""
        self._positions[event.strategy, event.exchange, event.symbol] = event

    def draw(self, tally: Tally, now_ns: int, subtitle: str) -> RenderableType:
        """The whole panel."""
        flow = self._flow(tally, now_ns)
        return Panel(
            Group(self._processes(tally), Text(), flow, Text(), self._latency(tally), Text(), self._position_table()),
            title=self._title,
            subtitle=subtitle,
            border_style="cyan",
        )

    def _processes(self, tally: Tally) -> Table:
        table = _table("process", "state", ">pid", ">restarts", ">loop turns/s", "waits for")
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

    def _position_table(self) -> Table:
        table = _table("position", "instrument", ">quantity", ">entry", ">mark", ">realised", ">unrealised", ">fees")
        for (strategy, exchange, symbol), event in sorted(self._positions.items()):
            amounts = (event.entry_price, event.mark_price, event.realised_pnl, event.unrealised_pnl, event.fees)
            table.add_row(
                strategy,
                f"{exchange}.{symbol}",
                f"{event.quantity:f}",
                *("-" if amount is None else f"{amount:,.2f}" for amount in amounts),
            )
        return table


def _standing(report: ProcessReported) -> str:
    """How far the read models of the workers are behind the executor, in facts."""
    return f"behind {report.counters['behind']:,}" if "behind" in report.counters else ""


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return table
