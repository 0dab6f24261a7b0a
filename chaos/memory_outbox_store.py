"""The outbox's store without a disk. It outlives its engine, as a file outlives its process."""

from collections.abc import Sequence

from common.errors import FatalError
from common.wire.codec import decode_body, encode_body
from strategy.checkpoint import Checkpoint
from strategy.outbox import Instruction, Kept, id_of


class MemoryOutboxStore:
    """Keeps bodies as bytes, so that nobody can change what is kept; counts its transactions, and fails on demand."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.last_id: str | None = None
        self.checkpoint: Checkpoint | None = None
        self.transactions = 0
        self.is_failing = False

    def load(self) -> Kept:
        """What is kept."""
        instructions = [decode_body(body) for body in self.bodies.values()]
        return Kept(
            instructions=[message for message in instructions if isinstance(message, Instruction)],
            last_id=self.last_id,
            checkpoint=self.checkpoint,
        )

    def add(self, instructions: Sequence[Instruction], checkpoint: Checkpoint) -> None:
        """Keep them, and the checkpoint."""
        self._begin()
        for instruction in instructions:
            self.last_id = id_of(instruction)
            self.bodies[self.last_id] = encode_body(instruction)
        self.checkpoint = checkpoint

    def remove(self, ids: Sequence[str]) -> None:
        """Forget them."""
        self._begin()
        for instruction_id in ids:
            del self.bodies[instruction_id]

    def _begin(self) -> None:
        if self.is_failing:
            raise FatalError("outbox: it could not be written")
        self.transactions += 1
