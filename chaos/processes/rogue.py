"""A strategy process that no one should run: it pushes garbage, and other bodies under ids that others have used."""

from collections.abc import Sequence

import msgspec

from chaos.facts import Size
from chaos.machine import Machine
from common.events.base import DRAFT
from common.events.trading import Signal, SignalAcknowledged
from common.money import EXACT
from common.wire import codec
from common.wire.subscriber import Subscriber

GARBAGE = (b"", b"signal", b"signal.simulated.BTC/USDT\0\xc1", b"signal.simulated.BTC/USDT\0\x80")


class RogueNode:
    """Answers each acknowledgement of another one's signal with a forgery of it, and each turn with garbage."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._events = Subscriber(["signal_acknowledged.*.*"])
        self._turns = 0

    def receive(self, channel: str, frame: bytes) -> None:
        event = self._events.accept(frame)
        if not isinstance(event, SignalAcknowledged) or event.strategy == self._machine.name:
            return
        original = self._machine.facts.emitted.get(event.signal_id)
        if original is not None:
            self._push(original)

    def turn(self) -> None:
        self._turns += 1
        self._machine.facts.counts["frames forged"] += 1
        self._machine.send("signals", GARBAGE[self._turns % len(GARBAGE)])

    def sizes(self) -> Sequence[Size]:
        return ()

    def die(self) -> None:
        """Nobody misses it."""

    def _push(self, original: Signal) -> None:
        self._machine.facts.counts["frames forged"] += 1
        forged = msgspec.structs.replace(
            original, **DRAFT, strategy=self._machine.name, quantity=EXACT.add(original.quantity, original.quantity)
        )
        self._machine.send("signals", codec.encode(forged))
