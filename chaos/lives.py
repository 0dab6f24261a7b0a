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
        self._held: list[tuple[str, bytes]] | None = None  # what comes while it stands still

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
        self.forget()
        self._schedule.after(down_ms * NS_PER_MS, self.start)

    def forget(self) -> Node | None:
        """Leave this life to itself."""
        node, self.node, self._held = self.node, None, None
        return node

    def pause(self, duration_ms: int) -> None:
        """Stand still for a while, as by SIGSTOP."""
        if self.node is None or self._held is not None:
            return
        epoch, self._held = self._epoch, []
        self._schedule.after(duration_ms * NS_PER_MS, lambda: self.resume() if epoch == self._epoch else None)

    def resume(self) -> None:
        """Go on, with everything that came meanwhile."""
        held, self._held = self._held or (), None
        for channel, frame in held:
            self.receive(channel, frame)

    def receive(self, channel: str, frame: bytes) -> None:
        """Hand a frame to the life that lasts; without one it is lost."""
        node = self.node
        if self._held is not None:
            self._held.append((channel, frame))
        elif node is not None:
            self._run(lambda: node.receive(channel, frame))

    def _begin(self, epoch: int) -> None:
        self.node = self._make_node(self._make_machine(self.name, epoch))

    def _turn(self, epoch: int) -> None:
        if self.node is None or epoch != self._epoch:
            return
        if self._held is None:
            self._run(self.node.turn)
        self._schedule.after(TURN_NS, lambda: self._turn(epoch))

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Killed as killed:
            self._facts.counts["kills inside"] += 1
            self._facts.killed_inside.add(self.name)
            self.kill(killed.down_ms)
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the process, and the witness judges it
            if self.is_error_expected():
                self._facts.counts["ends by a refused write"] += 1
            else:
                self._facts.ends.append(f"{self.name} ended by {type(error).__name__}: {error}")
            self.kill(RESTART_MS)
        if self.node is not None:
            self._facts.note_step(self.node.sizes())
