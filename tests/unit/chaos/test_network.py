"""The virtual network: what each fault does to the frames of its channel."""

from collections import Counter
from random import Random

import pytest

from chaos.faults import Fault, FaultKind
from chaos.network import Network
from chaos.schedule import Schedule
from common.clock import NS_PER_MS, VirtualClock

FRAMES = [b"%d" % number for number in range(50)]


class Wire:
    """A network with one channel, and what arrives on it."""

    def __init__(self, *kinds: FaultKind) -> None:
        """Have these faults on the channel for 100 ms."""
        self.arrived: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.schedule = Schedule(VirtualClock())
        self.network = Network(self.schedule, Random(1), self.counts)
        self.network.connect("orders", lambda _channel, frame: self.arrived.append(frame))
        for kind in kinds:
            self.network.begin(Fault(kind, 0, "orders", 100))

    def carry(self) -> list[bytes]:
        """Send all frames, let a second pass, and tell what has arrived."""
        for frame in FRAMES:
            self.network.send("orders", frame)
        self.pass_time(ms=1_000)
        return self.arrived

    def pass_time(self, *, ms: int) -> None:
        """Let everything happen that is due by then."""
        is_over: list[bool] = []
        self.schedule.after(ms * NS_PER_MS, lambda: is_over.append(True))
        while not is_over:
            self.schedule.step()


def test_without_a_fault_each_frame_arrives_once_and_in_order() -> None:
    """The kind network: only time passes."""
    assert Wire().carry() == FRAMES


def test_cut_channel_carries_nothing() -> None:
    """A partition."""
    wire = Wire(FaultKind.CUT)

    assert wire.carry() == []
    assert wire.counts["frames cut"] == len(FRAMES)


def test_losing_channel_loses_some_and_keeps_the_order_of_the_rest() -> None:
    """A full queue at one end."""
    wire = Wire(FaultKind.LOSE)

    arrived = wire.carry()

    assert 0 < len(arrived) < len(FRAMES)
    assert arrived == sorted(arrived, key=int)
    assert wire.counts["frames lost"] == len(FRAMES) - len(arrived)


def test_repeating_channel_delivers_twice() -> None:
    """A retry below us."""
    assert Counter(Wire(FaultKind.REPEAT).carry()) == Counter(FRAMES * 2)


def test_reordering_channel_loses_nothing_but_the_order() -> None:
    """Two ways between the same ends."""
    arrived = Wire(FaultKind.REORDER).carry()

    assert arrived != FRAMES
    assert sorted(arrived, key=int) == FRAMES


def test_delaying_channel_keeps_the_order() -> None:
    """A slow peer: nothing has arrived after the time that frames usually take."""
    wire = Wire(FaultKind.DELAY)

    assert wire.carry() == FRAMES
    assert wire.counts["frames delayed"] == len(FRAMES)


@pytest.mark.parametrize("is_healed", [True, False])
def test_fault_ends_by_itself_or_when_everything_heals(is_healed: bool) -> None:
    """Two faults of one kind may overlap; ending one must not trip over the other."""
    wire = Wire(FaultKind.CUT, FaultKind.CUT)
    if is_healed:
        wire.network.heal()
    else:
        wire.pass_time(ms=101)

    assert wire.carry() == FRAMES


def test_only_faults_of_the_network_rule_a_channel() -> None:
    """A scenario that mixes them up is wrong, not without effect."""
    with pytest.raises(ValueError, match="expected one of"):
        Wire(FaultKind.KILL)
