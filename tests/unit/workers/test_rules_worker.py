"""Rules over the event stream: what they find becomes an alert, and their state outlives a restart."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.executor_builders import ExecutorHarness
from support.worker_builders import START_NS, Desk, make_quote

from common.clock import NS_PER_S
from common.errors import ConfigError
from common.events.base import Event
from common.events.market import Quote, Trade
from common.events.risk import AlertTriggered, Severity
from common.events.trading import OrderFilled
from common.rules import Finding, found, rule
from workers.rules import LAG_NS, Rules, load_rule


@rule(on=Quote)
def crossed(quote: Quote) -> Finding | None:
    """Tell of a bid above the ask."""
    return found(quote, "crossed") if (quote.bid or 0) > (quote.ask or 0) else None


@rule(on=Quote)
def twice(quote: Quote) -> list[Finding]:
    """Tell everything two times."""
    return [found(quote, "first"), found(quote, "second", severity=Severity.CRITICAL)]


def a_fill() -> OrderFilled:
    """What the executor tells of an order that was filled."""
    harness = ExecutorHarness()
    harness.recover()
    harness.have_working("s-1")
    harness.fill("s-1", quantity="1", filled_quantity="1", leaves_quantity="0")
    return harness.events_of(OrderFilled)[0]


def run(desk: Desk, events: list[Event], *, until: int = 0) -> Rules:
    """A life of the worker: these events, then so many alerts awaited, then its end."""
    worker = Rules()

    async def live() -> None:
        await worker.start(desk.context)
        for event in events:
            await worker.process_event(event, desk.context)
        await _reach(desk, until)
        assert worker.health() is None
        await worker.stop()

    asyncio.run(live())
    return worker


async def _reach(desk: Desk, count: int) -> None:
    for _ in range(500):
        if len(desk.of(AlertTriggered)) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"expected {count} alerts, were {len(desk.of(AlertTriggered))}")


def own_rules(*names: str) -> dict[str, Any]:
    """Options that enable rules of this file."""
    return {"enabled": [f"{__name__}:{name}" for name in names]}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are imported by path, so their rules are found only under the name that they have here."""
    import sys  # noqa: PLC0415

    module = type(sys)(__name__)
    module.crossed, module.twice, module.nothing = crossed, twice, object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, __name__, module)


def test_finding_becomes_an_alert_of_its_symbol(tmp_path: Path) -> None:
    """Rule, scope, severity and cause are in it."""
    desk = Desk(tmp_path, own_rules("crossed"))
    good = make_quote(100.0, seq=1)
    bad = Quote(
        source="gateway",
        epoch=1,
        seq=2,
        timestamp_ns=START_NS,
        exchange="simulated",
        symbol="BTC/USDT",
        bid=2.0,
        ask=1.0,
    )

    run(desk, [good, bad])

    [alert] = desk.of(AlertTriggered)
    assert (alert.code, alert.scope, alert.severity) == ("CROSSED", "symbol:simulated.BTC/USDT", Severity.WARNING)
    assert alert.cause_id == bad.event_id()


def test_every_finding_of_a_rule_is_told(tmp_path: Path) -> None:
    """In its order."""
    desk = Desk(tmp_path, own_rules("twice"))

    run(desk, [make_quote(1.0)])

    assert [(alert.detail, alert.severity) for alert in desk.of(AlertTriggered)] == [
        ("first", Severity.WARNING),
        ("second", Severity.CRITICAL),
    ]


def test_only_what_some_rule_wants_is_asked_for(tmp_path: Path) -> None:
    """No tick comes to a process whose rules want none."""
    desk = Desk(tmp_path)

    worker = run(desk, [])

    assert Quote not in worker.interests
    assert Trade not in worker.interests


def test_absence_is_told_when_its_time_is_over_also_after_a_restart(tmp_path: Path) -> None:
    """A fill whose position never changed: the worker was restarted in between."""
    desk = Desk(tmp_path)
    fill = a_fill()
    desk.clock.advance_to(max(fill.timestamp_ns, desk.clock.now_ns()))
    run(desk, [fill])
    assert desk.of(AlertTriggered) == []

    desk.clock.advance_to(fill.timestamp_ns + LAG_NS + 10 * NS_PER_S)
    run(desk, [], until=1)

    assert [alert.code for alert in desk.of(AlertTriggered)] == ["FILL_WITHOUT_POSITION"]


def test_damaged_state_is_told_and_begun_anew(tmp_path: Path) -> None:
    """Rules are not worth a process that does not start."""
    (tmp_path / "rules.state").write_bytes(b"\xc1")

    run(Desk(tmp_path), [a_fill()])

    assert (tmp_path / "rules.state").read_bytes() != b"\xc1"


@pytest.mark.parametrize("name", ["nonsense", "no.such.module:rule", f"{__name__}:missing", f"{__name__}:nothing"])
def test_rule_that_is_not_there_is_named(name: str) -> None:
    """The config is wrong, and says where."""
    with pytest.raises(ConfigError, match=r"rule '"):
        load_rule(name)
