"""What a process has around it in a simulation, in place of sockets, files and clock; and how it dies."""

from collections.abc import Callable, Sequence
from typing import Protocol

from chaos.facts import Facts, Size
from common.clock import VirtualClock
from common.instruments import InstrumentTable

PassPoint = Callable[[str], None]


class Killed(BaseException):
    """The process dies at this point. Not an Exception: nothing in a process may catch its own death."""

    def __init__(self, down_ms: int) -> None:
        super().__init__(down_ms)
        self.down_ms = down_ms


class CrashPoints:
    """Kills whoever passes an armed place, at the passage that was asked for."""

    def __init__(self) -> None:
        self._armed: dict[str, tuple[int, int]] = {}

    def arm(self, name: str, passage: int, down_ms: int) -> None:
        """Kill at a passage counted from now on."""
        self._armed[name] = (passage, down_ms)

    def disarm(self) -> None:
        """Kill nobody any more."""
        self._armed.clear()

    def pass_point(self, name: str) -> None:
        """A process passes a place.

        Raises:
            Killed: Here and now.
        """
        if name not in self._armed:
            return
        left, down_ms = self._armed.pop(name)
        if left == 1:
            raise Killed(down_ms)
        self._armed[name] = (left - 1, down_ms)


class Machine:
    """The virtual surroundings of one life of a process."""

    def __init__(
        self,
        *,
        name: str,
        epoch: int,
        clock: VirtualClock,
        instruments: InstrumentTable,
        send: Callable[[str, bytes], None],
        pass_point: PassPoint,
        facts: Facts,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.clock = clock
        self.instruments = instruments
        self.send = send
        self.pass_point = pass_point
        self.facts = facts

    @property
    def now_ns(self) -> int:
        """The virtual time."""
        return self.clock.now_ns()


class Node(Protocol):
    """One life of a process: the deciding code with a service of ours around it."""

    def receive(self, channel: str, frame: bytes) -> None:
        """Handle one frame."""
        ...

    def turn(self) -> None:
        """Let time pass."""
        ...

    def sizes(self) -> Sequence[Size]:
        """How full its queues are."""
        ...

    def die(self) -> None:
        """Its memory is gone."""
        ...
