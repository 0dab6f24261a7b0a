"""A process in virtual time: one life after the other, each from nothing but what is on disk."""

from collections.abc import Callable

from chaos.facts import Facts
from chaos.machine import Killed, Machine, Node
from chaos.schedule import Schedule
from common.clock import NS_PER_MS

TURN_NS = 5 * NS_PER_MS
# After an error of its own; a supervisor would take longer, a history has not the time.
RESTART_MS = 50


class Lives:
    """Starts a process, lets it turn, hands it its frames, and buries it."""

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        facts: Facts,
        make_machine: Callable[[str, int], Machine],
        make_node: Callable[[Machine], Node],
    ) -> None:
        self.name = name
        self.node: Node | None = None
        self.is_error_expected: Callable[[], bool] = lambda: False
        self._schedule = schedule
        self._facts = facts
        self._make_machine = make_machine
        self._make_node = make_node
        self._epoch = 0

    def start(self) -> None:
        """Begin the next life, unless one lasts."""
        if self.node is not None:
            return
        self._epoch += 1
        epoch = self._epoch
        self._run(lambda: self._begin(epoch))
        self._schedule.after(TURN_NS, lambda: self._turn(epoch))

    def kill(self, down_ms: int) -> None:
        """End this life at once; the next one begins after a while."""
        if self.node is not None:
            self.node.die()
        self.node = None
        self._schedule.after(down_ms * NS_PER_MS, self.start)

    def receive(self, channel: str, frame: bytes) -> None:
        """Hand a frame to the life that lasts; without one it is lost."""
        node = self.node
        if node is not None:
            self._run(lambda: node.receive(channel, frame))

    def _begin(self, epoch: int) -> None:
        self.node = self._make_node(self._make_machine(self.name, epoch))

    def _turn(self, epoch: int) -> None:
        if self.node is None or epoch != self._epoch:
            return
        self._run(self.node.turn)
        self._schedule.after(TURN_NS, lambda: self._turn(epoch))

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Killed as killed:
            self._facts.counts["kills inside"] += 1
            self.kill(killed.down_ms)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the process, and the witness judges it
            if self.is_error_expected():
                self._facts.counts["ends by a refused write"] += 1
            else:
                self._facts.ends.append(f"{self.name} ended by {type(error).__name__}: {error}")
            self.kill(RESTART_MS)
        if self.node is not None:
            self._facts.note_step(self.node.sizes())
