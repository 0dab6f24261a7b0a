"""The live panel, drawn on a console that remembers what it shows."""

import io
import re
from decimal import Decimal

import pytest
from rich.console import Console
from support.engine_builders import make_position_event
from support.report_builders import EPOCH, NOW_NS, make_latencies, make_report, make_tally

from common.clock import NS_PER_S
from common.events.risk import AlarmRaised, Severity, TradingState, TradingStateChanged
from common.events.system import ProcessReported, ProcessState
from monitor.panel import LivePanel, Rates
from monitor.tally import Tally

WIDTH = 120


def draw(panel: LivePanel, tally: Tally, now_ns: int = 0, *, width: int = WIDTH) -> str:
    """The panel as a person sees it."""
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(panel.draw(tally, now_ns, "Ctrl-C ends it"))
    return console.export_text()


def row_of(text: str, name: str) -> list[str]:
    """The cells of the row that begins with a name."""
    lines = [line.strip("│ \n") for line in text.splitlines()]
    row = next(line for line in lines if line.startswith(f"{name}  "))
    return re.split(r"\s{2,}", row)


def test_panel_of_nothing_yet_shows_zeros_and_dashes() -> None:
    """It is up before the first process reports."""
    text = draw(LivePanel("tickpulse demo"), make_tally())

    assert "tickpulse demo" in text
    assert "Ctrl-C ends it" in text
    assert row_of(text, "ticks published") == ["ticks published", "0", "0"]
    assert row_of(text, "fills") == ["fills", "0", "0"]
    assert re.search(r"│\s+(-\s+){5}│", text)


def test_panel_shows_each_process_with_its_state_and_what_it_waits_for() -> None:
    """And how often it was started again."""
    tally = make_tally(
        make_report("gateway", pid=4711, started_ns=NOW_NS - 2 * NS_PER_S, turns=5_000),
        make_report("executor", state=ProcessState.STARTING, detail="the journal"),
        make_report("momentum", state=ProcessState.STOPPED),
        make_report("momentum", epoch=EPOCH + 1, state=ProcessState.FAILED, pid=42, turns=0),
    )

    text = draw(LivePanel("tickpulse"), tally)

    assert row_of(text, "gateway") == ["gateway", "ready", "4711", "0", "2,500"]
    assert row_of(text, "executor")[1::4] == ["starting", "the journal"]
    assert row_of(text, "momentum") == ["momentum", "failed", "42", "1", "0"]
    assert "stopped" not in text


def test_panel_shows_the_counts_of_all_processes() -> None:
    """Each from who is its owner, over all lives."""
    strategy = {"ticks_received": 900, "signals_emitted": 7, "signals_acknowledged": 6}
    tally = make_tally(
        make_report("gateway", counters={"ticks_published": 1_000}),
        make_report("momentum", counters=strategy),
        make_report("other", counters={**strategy, "ticks_dropped": 100}),
        make_report("executor", counters={"signals_denied": 1, "orders_accepted": 12}),
        make_report("exchange", counters={"executions_trade": 11}),
    )

    text = draw(LivePanel("tickpulse"), tally)

    counts = {name: row_of(text, name)[1] for name in ("ticks published", "ticks dropped", "signals denied", "fills")}
    assert counts == {"ticks published": "1,000", "ticks dropped": "100", "signals denied": "1", "fills": "11"}
    assert row_of(text, "ticks received, all strategies")[1] == "1,800"
    assert row_of(text, "signals emitted")[1] == "14"
    assert row_of(text, "signals acknowledged")[1] == "12"
    assert row_of(text, "orders accepted")[1] == "12"


def test_panel_shows_latency_in_microseconds() -> None:
    """Of all lives of the executor."""
    latencies = make_latencies(*(1_000_000 for _ in range(99)), 9_000_000)

    text = draw(LivePanel("tickpulse"), make_tally(make_report("executor", latencies=latencies)))

    heading, values = (line.strip("│ ") for line in text.splitlines() if re.search(r"acknowledgement, |9,0", line))
    assert heading.split()[-5:] == ["p50", "p90", "p99", "p99.9", "max"]
    assert values.split()[:3] == ["1,000"] * 3
    assert values.split()[4].startswith("9,0")


def test_panel_shows_the_newest_state_of_each_position() -> None:
    """Of each strategy in each instrument; what a position has not is a dash."""
    panel = LivePanel("tickpulse")
    panel.on_event(make_position_event("0.5"))
    panel.on_event(
        make_position_event("-0.00001", mark_price=Decimal("60010.5"), entry_price="60000.123", realised_pnl="-1.239")
    )
    panel.on_event(make_position_event("0", strategy="other", entry_price=None, fees="1234.5"))

    text = draw(panel, make_tally())

    assert row_of(text, "mine") == [
        "mine",
        "simulated.BTC/USDT",
        "-0.00001",
        "60,000.12",
        "60,010.50",
        "-1.24",
        "0.00",
        "0.00",
    ]
    assert row_of(text, "other") == ["other", "simulated.BTC/USDT", "0", "-", "-", "0.00", "0.00", "1,234.50"]


def test_panel_shows_names_of_usual_length_in_full_on_a_terminal_of_110_columns() -> None:
    """A name that is cut is a name that cannot be typed."""
    panel = LivePanel("tickpulse")
    panel.on_event(
        make_position_event(
            "0.00831", strategy="support_resistance", entry_price="60000.123", mark_price=Decimal("60010.5")
        )
    )

    text = draw(panel, make_tally(make_report("support_resistance")), width=110)

    assert "simulated.BTC/USDT" in text
    assert text.count("support_resistance") == 2


@pytest.mark.parametrize(("width", "amounts"), [(80, ["60,000.12", "9.26"]), (103, ["60,000.12", "9.26"])])
def test_position_of_usual_names_fits_a_narrow_terminal(width: int, amounts: list[str]) -> None:
    """Amounts that have no room are summed up to what the position has brought, not cut."""
    panel = LivePanel("tickpulse")
    panel.on_event(
        make_position_event(
            "0.00831",
            strategy="support_resistance",
            entry_price="60000.123",
            mark_price=Decimal("60010.5"),
            realised_pnl="10.5",
            fees="1.24",
        )
    )

    text = draw(panel, make_tally(), width=width)

    assert row_of(text, "support_resistance") == ["support_resistance", "simulated.BTC/USDT", "0.00831", *amounts]
    assert "…" not in text


def make_alarm(code: str, source: str = "executor", severity: Severity = Severity.CRITICAL) -> AlarmRaised:
    """An alarm of a quarter past ten."""
    return AlarmRaised(
        source=source,
        epoch=EPOCH,
        seq=1,
        timestamp_ns=NOW_NS,
        code=code,
        severity=severity,
        subject="gateway",
        detail="no beat for 1528 ms between two turns: killed, to be started again, and this text does not end",
    )


@pytest.mark.parametrize("width", [80, 120])
def test_panel_shows_the_newest_alarms_first(width: int) -> None:
    """When, from whom, what it is, and about what; without an alarm there is no such table."""
    panel = LivePanel("tickpulse")
    before = draw(panel, make_tally(), width=width)
    panel.on_event(make_alarm("OLDEST"))
    for code in ("CIRCUIT_OPEN", "ORDER_ADOPTED", "CASH_MISMATCH", "TRADING_STOPPED"):
        panel.on_event(make_alarm(code))
    panel.on_event(make_alarm("PROCESS_HUNG", "watchdog"))

    text = draw(panel, make_tally(), width=width)

    assert "alarm" not in before
    assert row_of(text, "22:13:20")[:3] == ["22:13:20", "watchdog", "PROCESS_HUNG"]
    assert row_of(text, "22:13:20")[3].startswith("gateway: no beat for 1528 ms")
    assert "CIRCUIT_OPEN" in text
    assert "OLDEST" not in text
    assert text.count("22:13:20") == 5  # one line each, however narrow


def make_move(scope: str, state: TradingState) -> TradingStateChanged:
    """Somebody moves the kill switch."""
    return TradingStateChanged(
        source="executor",
        epoch=EPOCH,
        seq=1,
        timestamp_ns=NOW_NS,
        scope=scope,
        state=state,
        by="ann",
        reason="prices look odd",
    )


def test_panel_shows_an_exchange_that_takes_no_new_order() -> None:
    """From its report, since its alarm may have come before the panel."""
    tally = make_tally(make_report("exchange", counters={"is_halted": 1}))

    assert "HALTED by the exchange itself, see `tickpulse ledger`" in draw(LivePanel("tickpulse"), tally, width=80)


def test_panel_shows_the_kill_switch_where_it_does_not_stand_on_active() -> None:
    """Each scope with who and why; what was moved before the panel listened is at least counted."""
    panel, tally = LivePanel("tickpulse"), make_tally(make_report("executor", counters={"scopes_restricted": 3}))
    panel.on_event(make_move("all", TradingState.HALTED))
    panel.on_event(make_move("strategy:momentum", TradingState.REDUCING))

    stopped = draw(panel, tally)
    for scope in ("all", "strategy:momentum"):
        panel.on_event(make_move(scope, TradingState.ACTIVE))
    free = draw(panel, make_tally(make_report("executor", counters={"scopes_restricted": 0})))

    assert "HALTED all by ann: prices look odd" in stopped
    assert "REDUCING strategy:momentum by ann" in stopped
    assert "RESTRICTED: 1 scope more" in stopped
    assert "exchange itself" not in stopped
    assert "ann" not in free
    assert "RESTRICTED" not in free


def test_rate_is_counted_between_looks_at_least_half_a_second_apart() -> None:
    """So that it does not flicker; before the second look there is none."""
    rates = Rates()
    looks_ms = [(0, 100), (400, 200), (500, 600), (700, 5_000), (1_500, 1_600)]

    shown = [rates.per_second("ticks", count, ms * 1_000_000) for ms, count in looks_ms]

    assert shown == [0, 0, 1_000, 1_000, 1_000]


def test_rate_of_a_counter_that_starts_anew_is_not_negative() -> None:
    """A life may be forgotten; nobody un-publishes a tick."""
    rates = Rates()

    rates.per_second("ticks", 1_000, 0)

    assert rates.per_second("ticks", 5, NS_PER_S) == 0


def test_rates_appear_in_the_panel() -> None:
    """Beside their counts."""
    panel = LivePanel("tickpulse")

    def look(count: int, now_ns: int) -> str:
        report: ProcessReported = make_report(counters={"ticks_published": count}, timestamp_ns=NOW_NS + count)
        return draw(panel, make_tally(report), now_ns)

    look(1_000, 0)
    text = look(4_000, 2 * NS_PER_S)

    assert row_of(text, "ticks published") == ["ticks published", "4,000", "1,500"]
