"""What can go wrong, as data: a history is a seed and a list of these."""

import enum
from random import Random

import msgspec

from common.crash_points import CRASH_POINTS

CHANNELS = ("market", "signals", "events", "orders", "answers", "executions")
PROCESSES = ("gateway", "exchange", "executor", "alpha", "beta")
# Faults happen in the first second and a half; then everything heals.
TROUBLE_MS = 1_500


class FaultKind(enum.StrEnum):
    """One way to go wrong. The first five need a channel, `KILL` and `PAUSE` a process, `KILL_INSIDE` a crash point."""

    LOSE = "lose"  # each frame of a channel is lost with one chance in three
    REPEAT = "repeat"  # each frame comes twice, the second time later
    REORDER = "reorder"  # frames overtake each other
    DELAY = "delay"  # frames take up to 300 ms, in order
    CUT = "cut"  # nothing gets through
    KILL = "kill"  # between two messages
    KILL_INSIDE = "kill_inside"  # at a crash point: between a write and a send
    DISK_REFUSES = "disk_refuses"  # nothing can be written
    POWER_LOSS = "power_loss"  # every process at once, and of each file what was not synced
    PAUSE = "pause"  # a process stands still, and finds everything that came meanwhile
    TAKE_OVER = "take_over"  # an executor stands still, a second life begins, and the first one wakes


NETWORK_KINDS = (FaultKind.LOSE, FaultKind.REPEAT, FaultKind.REORDER, FaultKind.DELAY, FaultKind.CUT)


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong at a time; `passage` counts from then on for a crash point."""

    kind: FaultKind
    at_ms: int
    target: str = ""
    duration_ms: int = 100
    passage: int = 1


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of trouble: which faults, how many, how the files are written, and how often what else is added.

    The last three are shares of the histories: of those at whose venue more goes wrong, in which people command the
    executor, and in which it has limits.
    """

    kinds: tuple[FaultKind, ...] = ()
    count_max: int = 8
    is_synced: bool = True  # synchronous = "full": a write has reached the disk when it returns
    has_rogue: bool = False  # a strategy that takes others' ids and whose callbacks raise
    venue_faults: float = 0.25
    people: float = 0.25
    limits: float = 0.25


# Without `is_synced` power loss may cut journal and ledger back to different moments. Then the invariants of
# `invariants.AFTER_UNSYNCED_POWER_LOSS` are what is still promised.
SCENARIOS = {
    "calm": Scenario(count_max=0, venue_faults=0, people=0, limits=0),
    "network": Scenario(kinds=(FaultKind.LOSE, FaultKind.REPEAT, FaultKind.REORDER, FaultKind.DELAY), count_max=12),
    "partitions": Scenario(kinds=(FaultKind.CUT,), count_max=6),
    "crashes": Scenario(kinds=(FaultKind.KILL,)),
    "crash_points": Scenario(kinds=(FaultKind.KILL_INSIDE,)),
    "disk": Scenario(kinds=(FaultKind.DISK_REFUSES, FaultKind.KILL), count_max=5),
    "power_loss": Scenario(kinds=(FaultKind.POWER_LOSS, FaultKind.KILL_INSIDE), count_max=4),
    "power_loss_unsynced": Scenario(kinds=(FaultKind.POWER_LOSS,), count_max=3, is_synced=False),
    "rogue": Scenario(kinds=(*NETWORK_KINDS, FaultKind.KILL), has_rogue=True),
    "venue_faults": Scenario(venue_faults=1),
    "people": Scenario(kinds=(FaultKind.KILL, FaultKind.KILL_INSIDE, FaultKind.CUT), count_max=4, people=1),
    "limits": Scenario(kinds=(FaultKind.LOSE, FaultKind.DELAY, FaultKind.KILL), count_max=4, limits=1),
    "pauses": Scenario(kinds=(FaultKind.PAUSE, FaultKind.TAKE_OVER), count_max=5),
    "storm": Scenario(kinds=tuple(FaultKind), count_max=16, venue_faults=0.5, people=0.5, limits=0.5),
}


def draw_faults(scenario: Scenario, random: Random) -> list[Fault]:
    """The faults of one history, in the order of their times."""
    if not scenario.kinds:
        return []
    count = random.randint(1, scenario.count_max)
    return sorted((draw_fault(random.choice(scenario.kinds), random) for _ in range(count)), key=lambda f: f.at_ms)


def draw_fault(kind: FaultKind, random: Random) -> Fault:
    """One fault somewhere in the time of trouble."""
    at_ms = random.randrange(50, TROUBLE_MS - 50)
    if kind in NETWORK_KINDS:
        return Fault(kind, at_ms, random.choice(CHANNELS), random.randint(20, 800))
    if kind in {FaultKind.KILL, FaultKind.PAUSE}:
        return Fault(kind, at_ms, random.choice(PROCESSES), random.randint(1, 600))
    if kind is FaultKind.KILL_INSIDE:
        return Fault(kind, at_ms, random.choice(CRASH_POINTS), random.randint(1, 300), random.randint(1, 6))
    return Fault(kind, at_ms, random.choice(("executor", "exchange")), random.randint(20, 300))
