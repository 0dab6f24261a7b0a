"""A network in virtual time: every frame takes its own way, and a fault on its channel decides how."""

from collections import Counter
from collections.abc import Callable
from random import Random

from chaos.faults import NETWORK_KINDS, Fault, FaultKind
from chaos.schedule import Schedule
from common.clock import NS_PER_MS, NS_PER_US

DELAY_NS_MIN, DELAY_NS_MAX = 20 * NS_PER_US, 300 * NS_PER_US
Receive = Callable[[str, bytes], None]


class Network:
    """Carries the very bytes of the wire. Without a fault: each frame once, in order within one way."""

    def __init__(self, schedule: Schedule, random: Random, counts: Counter[str]) -> None:
        self._schedule = schedule
        self._random = random
        self._counts = counts
        self._receivers: dict[str, list[Receive]] = {}
        self._last_due_ns: dict[tuple[str, int], int] = {}
        self._faults: dict[str, list[FaultKind]] = {}

    def connect(self, channel: str, receive: Receive) -> None:
        """Hand every frame of a channel to a receiver too."""
        self._receivers.setdefault(channel, []).append(receive)

    def begin(self, fault: Fault) -> None:
        """Let a fault rule its channel, for its duration."""
        if fault.kind not in NETWORK_KINDS:
            raise ValueError(f"network: expected one of {NETWORK_KINDS}, was {fault.kind}")
        kinds = self._faults.setdefault(fault.target, [])
        kinds.append(fault.kind)
        self._schedule.after(fault.duration_ms * NS_PER_MS, lambda: kinds.remove(fault.kind) if kinds else None)

    def heal(self) -> None:
        """End all faults."""
        for kinds in self._faults.values():
            kinds.clear()

    def send(self, channel: str, frame: bytes) -> None:
        """Send a frame to every receiver of the channel."""
        for index, receive in enumerate(self._receivers.get(channel, ())):
            for delay_ns, is_ordered in self._ways(self._faults.get(channel, ())):
                self._carry((channel, index), frame, receive, delay_ns, is_ordered=is_ordered)

    def _ways(self, kinds: list[FaultKind] | tuple[()]) -> list[tuple[int, bool]]:
        """How often a frame arrives, how late, and whether it waits for those before it."""
        random, counts = self._random, self._counts
        delay_ns = random.randint(DELAY_NS_MIN, DELAY_NS_MAX)
        if not kinds:
            return [(delay_ns, True)]
        is_lost = FaultKind.LOSE in kinds and random.random() < 1 / 3
        if FaultKind.CUT in kinds or is_lost:
            counts["frames cut" if FaultKind.CUT in kinds else "frames lost"] += 1
            return []
        is_ordered = FaultKind.REORDER not in kinds
        if not is_ordered:
            counts["frames reordered"] += 1
            delay_ns += random.randint(0, 20 * NS_PER_MS)
        if FaultKind.DELAY in kinds:
            counts["frames delayed"] += 1
            delay_ns += random.randint(0, 300 * NS_PER_MS)
        ways = [(delay_ns, is_ordered)]
        if FaultKind.REPEAT in kinds:
            counts["frames repeated"] += 1
            ways.append((delay_ns + random.randint(0, 200 * NS_PER_MS), False))
        return ways

    def _carry(self, way: tuple[str, int], frame: bytes, receive: Receive, delay_ns: int, *, is_ordered: bool) -> None:
        due_ns = self._schedule.clock.now_ns() + delay_ns
        if is_ordered:
            due_ns = self._last_due_ns[way] = max(due_ns, self._last_due_ns.get(way, 0))
        self._schedule.at(due_ns, lambda: receive(way[0], frame))
