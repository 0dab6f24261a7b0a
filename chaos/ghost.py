"""A life that stood still, was given up, and wakes: a newer one has its name, and nobody told it."""

from collections.abc import Callable

from chaos.lives import TURN_NS
from chaos.processes.executor import ExecutorNode
from chaos.schedule import Schedule
from common.errors import FatalError


class Ghost:
    """Holds what comes while it sleeps; then goes on as if nothing had happened, until the exchange fences it."""

    def __init__(self, node: ExecutorNode, schedule: Schedule, on_fenced: Callable[[], None]) -> None:
        """Cut a life off from everything but the exchange."""
        node.go_astray()
        self._node: ExecutorNode | None = node
        self._schedule = schedule
        self._on_fenced = on_fenced
        self._held: list[tuple[str, bytes]] | None = []

    def receive(self, channel: str, frame: bytes) -> None:
        """Take a frame that its sockets still get."""
        node = self._node
        if self._held is not None:
            self._held.append((channel, frame))
        elif node is not None:
            self._run(lambda: node.receive(channel, frame))

    def wake(self, is_replaced: Callable[[], bool]) -> None:
        """Go on, once the exchange has heard of the newer life: fencing promises nothing before."""
        if not is_replaced():
            self._schedule.after(TURN_NS, lambda: self.wake(is_replaced))
            return
        held, self._held = self._held or (), None
        for channel, frame in held:
            self.receive(channel, frame)
        self._turn()

    def _turn(self) -> None:
        node = self._node
        if node is not None:
            self._run(node.turn)
            self._schedule.after(TURN_NS, self._turn)

    def _run(self, step: Callable[[], None]) -> None:
        try:
            step()
        except FatalError:
            self._node = None
            self._on_fenced()
