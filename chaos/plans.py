"""What happens in one history, drawn from its seed: faults, a venue that misbehaves, commands of people, limits."""

from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Literal

import msgspec

from chaos.faults import TROUBLE_MS, Fault, FaultKind, Scenario, draw_faults
from common.events.risk import ControlAction
from exchange.simulated.faults import Fault as VenueFault
from exchange.simulated.faults import FaultName, FaultsConfig, RememberedFor
from executor.limits import RiskLimits, SymbolLimits

SCOPES = ("all", "strategy:alpha", "strategy:beta", "symbol:simulated.BTC/USDT", "symbol:simulated.ETH/USDT")
ACTIONS = (ControlAction.HALT, ControlAction.REDUCE, ControlAction.RESUME, ControlAction.CANCEL_ALL)
COMMANDS_MAX = 8
# What both strategies reach all the time.
LIMITS = RiskLimits(
    open_orders_max=8,
    symbols={
        name: SymbolLimits(position_quantity_max=Decimal("0.04"))
        for name in ("simulated.BTC/USDT", "simulated.ETH/USDT")
    },
)
# How long each may last, ms: less than a signal lives, as the promise to a strategy ends with its signal.
VENUE_FAULTS_MS = {
    FaultName.ANSWER_LATE: (20, 300),
    FaultName.ANSWER_AFTER_FILL: (20, 200),
    FaultName.EXECUTIONS_REORDERED: (5, 50),
    FaultName.DISCONNECT: (50, 300),
    FaultName.SLOW: (5, 80),
    FaultName.CLOCK_SKEW: (-100, 100),
}
# Who remembers for as long as an executor may have to wait until it can ask always can tell.
FORGETFUL: tuple[Literal["open", "none"] | RememberedFor, ...] = (RememberedFor(seconds=0.6), "open", "none")
MEMORIES: tuple[Literal["forever", "open", "none"] | RememberedFor, ...] = (
    "forever",
    RememberedFor(seconds=2.0),
    *FORGETFUL,
)


class Command(msgspec.Struct, frozen=True):
    """What a person types at a time."""

    at_ms: int
    action: ControlAction
    scope: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that happens to one history from outside."""

    faults: Sequence[Fault] = ()
    venue_faults: FaultsConfig = FaultsConfig()
    commands: Sequence[Command] = ()
    limits: RiskLimits = RiskLimits()

    @property
    def is_venue_certain(self) -> bool:
        """Whether the venue always knows what became of an order, and keeps its word.

        A clock that is behind accepts what has expired, and so what the executor was told not to exist.
        """
        venue = self.venue_faults
        return venue.client_id_memory not in FORGETFUL and all((fault.ms or 0) >= 0 for fault in venue.fault)


def draw_plan(scenario: Scenario, seed: int) -> Plan:
    """What the seed has in store. Each part has a random of its own, so that one changes nothing about the others."""
    parts = {name: Random(f"{name} {seed}") for name in ("faults", "venue", "people", "limits")}
    has_limits = parts["limits"].random() < scenario.limits
    has_venue_faults = parts["venue"].random() < scenario.venue_faults
    has_people = parts["people"].random() < scenario.people
    venue_faults = _draw_venue_faults(parts["venue"], has_limits=has_limits) if has_venue_faults else FaultsConfig()
    faults = draw_faults(scenario, parts["faults"])
    return Plan(
        # Who knows no ids takes a repeated order for a second one, and nobody could tell. ZeroMQ repeats nothing.
        faults=[fault for fault in faults if not _repeats_orders(fault)] if _knows_no_ids(venue_faults) else faults,
        venue_faults=venue_faults,
        commands=_draw_commands(parts["people"]) if has_people else (),
        limits=LIMITS if has_limits else RiskLimits(),
    )


def _knows_no_ids(venue: FaultsConfig) -> bool:
    return venue.client_id_memory in {"open", "none"}


def _repeats_orders(fault: Fault) -> bool:
    return fault.kind is FaultKind.REPEAT and fault.target == "orders"


def _draw_venue_faults(random: Random, *, has_limits: bool) -> FaultsConfig:
    # A sale that is taken back makes a position larger than anybody ordered: no limit can prevent that.
    names = [name for name in FaultName if not (has_limits and name is FaultName.TRADE_CANCELLED)]
    chosen = random.sample(names, random.randint(1, len(names)))
    return FaultsConfig(
        seed=random.randrange(1 << 32),
        client_id_memory=random.choice(MEMORIES),
        fault=[_draw_venue_fault(name, random) for name in chosen],
    )


def _draw_venue_fault(name: FaultName, random: Random) -> VenueFault:
    bounds = VENUE_FAULTS_MS.get(name)
    return VenueFault(
        name=name.value, probability=random.uniform(0.02, 0.2), ms=None if bounds is None else random.randint(*bounds)
    )


def _draw_commands(random: Random) -> list[Command]:
    count = random.randint(1, COMMANDS_MAX)
    commands = [
        Command(random.randrange(50, TROUBLE_MS), random.choice(ACTIONS), random.choice(SCOPES)) for _ in range(count)
    ]
    return sorted(commands, key=lambda command: command.at_ms)
