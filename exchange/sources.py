"""The sources of requests: which life of each is the newest, how many orders it has placed, when it was last heard."""

from common.events.venue import SubmitOrder
from exchange.ports import OrderLedger
from exchange.records import Halt

EPOCH_MAX = (1 << 63) - 1  # what a column of the ledger holds


class Sources:
    """What the gateway knows about its askers; what must survive a restart is in the ledger first."""

    def __init__(self, ledger: OrderLedger, silence_ns_max: int) -> None:
        """Take over what the ledger knows.

        Args:
            ledger: Where lives and halts are kept.
            silence_ns_max: After so long without a request a source is silent; 0 for never.
        """
        self._ledger = ledger
        self._silence_ns_max = silence_ns_max
        self._epochs = ledger.epochs()
        self._order_counts = ledger.order_counts()
        halts = ledger.halts()
        # A person who lifts a halt accepts the difference that was found, and only that.
        self._surplus = {halt.source: halt.counted - halt.order_count for halt in halts if halt.cleared_ns is not None}
        self.halt = next((halt for halt in halts if halt.cleared_ns is None), None)
        self._heard: set[str] = set(self._epochs)
        self._heard_ns: dict[str, int] = {}

    def admit(self, source: str, epoch: int) -> bool:
        """Hear a source; tell whether it may ask, which an older life than the newest may not.

        A newer life is durable before anything is done for it. Epoch 0 is a plain client, which has no lives.
        """
        if not epoch:
            return True
        newest = self._epochs.get(source)
        if newest != epoch:
            if (newest is not None and epoch < newest) or epoch > EPOCH_MAX:
                return False
            self._ledger.record_epoch(source, epoch)
            self._epochs[source] = epoch
        self._heard.add(source)
        return True

    def order_count(self, source: str) -> int:
        """How many orders a source has placed, repeats not counted."""
        return self._order_counts.get(source, 0)

    def count(self, source: str) -> None:
        """Count a new order."""
        self._order_counts[source] = self.order_count(source) + 1

    def exceeds(self, request: SubmitOrder) -> bool:
        """Tell whether this order, if it is new, is one more than its source says to have intended."""
        if request.order_count is None:
            return False
        surplus = self._surplus.get(request.source, 0)
        return self.order_count(request.source) + 1 - surplus > request.order_count

    def stop(self, request: SubmitOrder, now_ns: int) -> None:
        """Halt, durably: the source and we disagree about what it has ordered."""
        halt = Halt(
            source=request.source,
            order_count=request.order_count or 0,
            counted=self.order_count(request.source) + 1,
            halted_ns=now_ns,
        )
        self._ledger.record_halt(halt)
        self.halt = halt

    def take_silent(self, monotonic_ns: int) -> list[str]:
        """The sources that have just become silent, each once; call it regularly, after waiting requests were read."""
        if not self._silence_ns_max:
            return []
        # Requests only mark their source. The one clock is here, so that a jump of the wall clock silences nobody.
        self._heard_ns |= dict.fromkeys(self._heard, monotonic_ns)
        self._heard.clear()
        silent = [
            source for source, heard_ns in self._heard_ns.items() if monotonic_ns - heard_ns >= self._silence_ns_max
        ]
        for source in silent:
            del self._heard_ns[source]
        return silent
