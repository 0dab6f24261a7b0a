"""The kill switch: what tightens it, who may loosen it, and what it says of an order."""

from pathlib import Path
from typing import Any

import pytest

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import DRAFT
from common.events.risk import ControlAction, ControlRequested, ScopeState, TradingState
from executor.entries import TradingStateMoved
from executor.journal import SqliteJournal
from executor.trading_state import (
    LOOSENING_AGE_NS_MAX,
    SCOPES_MAX,
    ControlRefusal,
    ControlRefusalReason,
    KillSwitch,
    check_scope,
    covers,
    is_person,
)

NOW_NS = 1_700_000_000 * NS_PER_S
SYMBOLS = {"simulated.BTC/USDT", "simulated.ETH/USDT"}
BTC = ("momentum", "simulated", "BTC/USDT")
ETH = ("momentum", "simulated", "ETH/USDT")
OTHERS_ETH = ("pingpong", "simulated", "ETH/USDT")


def make_request(action: str = "halt", scope: str = "all", **changes: Any) -> ControlRequested:
    """A command of alice, just now."""
    fields: dict[str, Any] = {"timestamp_ns": NOW_NS, "request_id": "c-1", "by": "alice", "reason": "looks odd"}
    return ControlRequested(**DRAFT, action=ControlAction(action), scope=scope, **{**fields, **changes})


def command(switch: KillSwitch, action: str, scope: str = "all", **changes: Any) -> list[TradingStateMoved]:
    """Let a command be obeyed, and give back what was written for it."""
    decided = switch.decide(make_request(action, scope, **changes), NOW_NS, SYMBOLS)
    assert not isinstance(decided, ControlRefusal), decided
    for entry in decided:
        switch.apply(entry)
    return decided


def refusal_of(switch: KillSwitch, action: str, scope: str = "all", **changes: Any) -> ControlRefusal:
    """A command that is refused."""
    decided = switch.decide(make_request(action, scope, **changes), NOW_NS, SYMBOLS)
    assert isinstance(decided, ControlRefusal)
    return decided


def tighten(switch: KillSwitch, scope: str, state: TradingState, by: str = "limit:DAILY_LOSS") -> int:
    """Let something go wrong, and tell how many entries were written for it."""
    entries = switch.tighten(scope, state, by=by, reason="measured", now_ns=NOW_NS)
    for entry in entries:
        switch.apply(entry)
    return len(entries)


def test_new_pipeline_is_active() -> None:
    """Nobody has said otherwise."""
    switch = KillSwitch()

    assert switch.state(*BTC) is TradingState.ACTIVE
    assert [(scope.scope, scope.state) for scope in switch.scopes()] == [("all", TradingState.ACTIVE)]


@pytest.mark.parametrize(
    ("scope", "halted"),
    [
        ("all", [BTC, ETH, OTHERS_ETH]),
        ("strategy:momentum", [BTC, ETH]),
        ("symbol:simulated.ETH/USDT", [ETH, OTHERS_ETH]),
    ],
)
def test_halt_concerns_its_scope_and_nothing_else(scope: str, halted: list[tuple[str, str, str]]) -> None:
    """One strategy's fault stops no other."""
    switch = KillSwitch()

    command(switch, "halt", scope)

    for case in (BTC, ETH, OTHERS_ETH):
        assert switch.state(*case) is (TradingState.HALTED if case in halted else TradingState.ACTIVE)
        assert covers(scope, *case) is (case in halted)


def test_strictest_of_three_scopes_decides_and_is_named() -> None:
    """The strategy that asks why it was denied gets the scope that did it."""
    switch = KillSwitch()
    command(switch, "reduce", "all")
    command(switch, "halt", "symbol:simulated.ETH/USDT", by="bob")

    assert switch.state(*BTC) is TradingState.REDUCING
    assert switch.strictest(*BTC).scope == "all"
    assert switch.state(*ETH) is TradingState.HALTED
    assert (switch.strictest(*ETH).scope, switch.strictest(*ETH).by) == ("symbol:simulated.ETH/USDT", "bob")


def test_milder_state_of_a_strategy_does_not_loosen_that_of_all() -> None:
    """Reducing one strategy in a halted pipeline leaves it halted."""
    switch = KillSwitch()
    command(switch, "halt", "all")

    command(switch, "reduce", "strategy:momentum")

    assert switch.state(*BTC) is TradingState.HALTED


def test_resuming_all_leaves_a_strategy_that_was_halted_by_itself() -> None:
    """Whoever lifts the whole need not know of that one's trouble."""
    switch = KillSwitch()
    command(switch, "halt", "strategy:momentum")
    command(switch, "halt", "all")

    command(switch, "resume", "all")

    assert switch.state(*BTC) is TradingState.HALTED
    assert switch.state(*OTHERS_ETH) is TradingState.ACTIVE


def test_resuming_lifts_the_scope_and_names_who_did_it() -> None:
    """The entry is the record; a scope that is active again takes no room, but for `all`."""
    switch = KillSwitch()
    command(switch, "halt", "all")
    command(switch, "halt", "strategy:momentum")

    [lifted] = command(switch, "resume", "strategy:momentum", by="bob", reason="fixed")
    command(switch, "resume", "all", by="bob", reason="fixed")

    assert (lifted.scope, lifted.state, lifted.by) == ("strategy:momentum", TradingState.ACTIVE, "bob")
    assert switch.state(*BTC) is TradingState.ACTIVE
    assert switch.scopes() == [
        ScopeState(scope="all", state=TradingState.ACTIVE, by="bob", reason="fixed", since_ns=NOW_NS)
    ]


def test_person_may_loosen_a_halt_to_reducing() -> None:
    """Positions are closed before trading goes on."""
    switch = KillSwitch()
    tighten(switch, "all", TradingState.HALTED)

    command(switch, "reduce")

    assert switch.state(*BTC) is TradingState.REDUCING


@pytest.mark.parametrize("by", ["limit:DAILY_LOSS", "contact:exchange", "reconciliation"])
def test_what_goes_wrong_tightens_by_itself(by: str) -> None:
    """Without waiting for a person."""
    switch = KillSwitch()

    count = tighten(switch, "strategy:momentum", TradingState.HALTED, by)

    assert count == 1
    assert (switch.strictest(*BTC).state, switch.strictest(*BTC).by) == (TradingState.HALTED, by)


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED])
def test_what_goes_wrong_never_overwrites_a_state_as_strict_or_stricter(state: TradingState) -> None:
    """Who halted it, and why, stays to be read by who lifts it; nor does the limit loosen."""
    switch = KillSwitch()
    command(switch, "halt")

    count = tighten(switch, "all", state)

    assert count == 0
    assert (switch.scopes()[0].state, switch.scopes()[0].by) == (TradingState.HALTED, "alice")


def test_what_goes_wrong_worse_tightens_further() -> None:
    """From reducing to halted."""
    switch = KillSwitch()
    tighten(switch, "all", TradingState.REDUCING)

    count = tighten(switch, "all", TradingState.HALTED, "limit:DRAWDOWN")

    assert count == 1
    assert switch.scopes()[0].by == "limit:DRAWDOWN"


def test_limit_can_loosen_nothing() -> None:
    """Not even when it is asked to."""
    switch = KillSwitch()
    tighten(switch, "all", TradingState.HALTED)

    assert tighten(switch, "all", TradingState.ACTIVE) == 0


@pytest.mark.parametrize("by", ["limit:DAILY_LOSS", "contact:exchange", "reconciliation", "", " ", "a" * 33, "a\nb"])
def test_only_a_person_commands(by: str) -> None:
    """A machine's name, or none, is refused for every command that does something."""
    switch = KillSwitch()
    tighten(switch, "all", TradingState.HALTED)

    for action in ("halt", "reduce", "resume", "cancel_all", "reload"):
        assert refusal_of(switch, action, by=by).reason is ControlRefusalReason.INVALID_NAME
    assert switch.state(*BTC) is TradingState.HALTED


@pytest.mark.parametrize("by", ["a", "alice", "Alice B. Smith", "José", "a" * 32])
def test_plain_name_is_a_person(by: str) -> None:
    """One to 32 characters."""
    assert is_person(by)


def test_repeated_command_writes_nothing_and_is_done() -> None:
    """A person who had no answer asks again."""
    switch = KillSwitch()
    command(switch, "halt")

    again, resumed = command(switch, "halt"), command(switch, "resume")
    resumed_again = command(switch, "resume")

    assert (len(again), len(resumed), len(resumed_again)) == (0, 1, 0)


def test_person_takes_a_halt_over_from_a_limit() -> None:
    """The newer word of a person is the one that the next person reads."""
    switch = KillSwitch()
    tighten(switch, "all", TradingState.HALTED)

    written = command(switch, "halt", reason="I am looking at it")

    assert len(written) == 1
    assert switch.scopes()[0].by == "alice"


@pytest.mark.parametrize("action", ["cancel_all", "status", "reload"])
def test_command_that_moves_no_switch_is_the_callers(action: str) -> None:
    """It passes, whatever the state."""
    switch = KillSwitch()
    command(switch, "halt")

    assert command(switch, action) == []


def test_anybody_may_ask_how_things_stand() -> None:
    """A status changes nothing, so nobody needs a name for it."""
    assert KillSwitch().decide(make_request("status", by=""), NOW_NS, SYMBOLS) == []


@pytest.mark.parametrize(
    "scope",
    [
        "",
        "ALL",
        "momentum",
        "strategy:",
        "strategy:Momentum",
        "strategy:a.b",
        "symbol:BTC/USDT",
        "symbol:simulated.",
        "symbol:simulated.BTC USDT",
        "symbol:simulated.*",
        f"symbol:simulated.{'B' * 48}",
    ],
)
@pytest.mark.parametrize("action", ["halt", "resume", "cancel_all"])
def test_scope_that_is_none_is_refused(scope: str, action: str) -> None:
    """A misspelt halt must not look like one."""
    assert refusal_of(KillSwitch(), action, scope).reason is ControlRefusalReason.INVALID_SCOPE


def test_error_of_a_scope_says_what_was_expected() -> None:
    """And what was there."""
    with pytest.raises(InvalidValueError, match=r"expected all, strategy:NAME or symbol:EXCHANGE.SYMBOL, was 'everyth"):
        check_scope("everything")


def test_halt_of_a_symbol_that_is_not_listed_is_refused() -> None:
    """It would halt nothing, and its author would believe otherwise."""
    refusal = refusal_of(KillSwitch(), "halt", "symbol:simulated.BTCUSDT")

    assert (refusal.reason, refusal.detail) == (
        ControlRefusalReason.UNKNOWN_SYMBOL,
        "simulated.BTCUSDT is not in the instrument table",
    )


def test_symbol_that_was_delisted_while_halted_can_be_lifted() -> None:
    """Or it would be halted for ever."""
    switch = KillSwitch()
    tighten(switch, "symbol:simulated.XRP/USDT", TradingState.HALTED)

    command(switch, "resume", "symbol:simulated.XRP/USDT")

    assert len(switch.scopes()) == 1


@pytest.mark.parametrize("action", ["resume", "reduce"])
def test_old_command_loosens_nothing(action: str) -> None:
    """A paused executor wakes and reads what its author gave up on long ago."""
    switch = KillSwitch()
    command(switch, "halt")
    old_ns = NOW_NS - LOOSENING_AGE_NS_MAX - 1

    refusal = refusal_of(switch, action, timestamp_ns=old_ns)

    assert refusal.reason is ControlRefusalReason.REQUEST_TOO_OLD
    assert command(switch, action, timestamp_ns=old_ns + 1)


def test_old_command_still_tightens() -> None:
    """A halt that comes late is better than none."""
    switch = KillSwitch()

    command(switch, "halt", timestamp_ns=NOW_NS - 3_600 * NS_PER_S)

    assert switch.state(*BTC) is TradingState.HALTED


def test_scopes_are_bounded() -> None:
    """`all` always finds room, and so does what is known already."""
    switch = KillSwitch()
    for number in range(SCOPES_MAX - 1):
        command(switch, "halt", f"strategy:s{number}")

    refusal = refusal_of(switch, "halt", "strategy:another")

    assert refusal.reason is ControlRefusalReason.TOO_MANY_SCOPES
    assert command(switch, "halt", "all")
    assert command(switch, "reduce", "strategy:s1")


def test_fold_of_the_same_entries_gives_the_same_switch() -> None:
    """So a halt survives every restart."""
    switch, restarted = KillSwitch(), KillSwitch()
    entries = [
        *command(switch, "halt", "all"),
        *command(switch, "halt", "strategy:momentum"),
        *command(switch, "reduce", "all", by="bob"),
        *command(switch, "resume", "strategy:momentum"),
    ]

    events = [restarted.apply(entry) for entry in entries]

    assert restarted.scopes() == switch.scopes()
    assert [event.topic() for event in events[:2]] == [
        "trading_state_changed.executor.all",
        "trading_state_changed.executor.strategy:momentum",
    ]
    assert (events[2].scope, events[2].state, events[2].by) == ("all", TradingState.REDUCING, "bob")
    assert entries[1].subject == "strategy:momentum"


def test_halt_is_read_again_from_the_journal(tmp_path: Path) -> None:
    """Through the very file that a restart reads."""
    switch, restarted = KillSwitch(), KillSwitch()
    entries = [*command(switch, "halt", "strategy:momentum"), *command(switch, "reduce", "all")]
    journal = SqliteJournal(tmp_path / "journal.sqlite", "normal")
    journal.append(entries)
    journal.close()

    reopened = SqliteJournal(tmp_path / "journal.sqlite", "normal")
    replayed = list(reopened.replay())
    reopened.close()
    for entry in replayed:
        assert isinstance(entry, TradingStateMoved)
        restarted.apply(entry)

    assert replayed == entries
    assert restarted.scopes() == switch.scopes()
