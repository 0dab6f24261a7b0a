"""What executor and report see of the market: quotes as the gateway samples them, and mid prices."""

from decimal import Decimal

from backtest.tape import Tape
from common.clock import NS_PER_MS
from common.events.base import DRAFT
from common.events.market import Quote
from common.instruments import Listed
from executor.references import References
from executor.risk import Reference

SAMPLE_NS = 50 * NS_PER_MS  # the gateway's: 20 quotes a second


class Market:
    """Looks into the tape, never ahead of who asks."""

    def __init__(self, tape: Tape, *, market_ns_max: int) -> None:
        """Take the slowest market message's latency: what an executor may not know yet, it does not."""
        self._tape = tape
        self.market_ns_max = market_ns_max

    def oldest_needed_ns(self, now_ns: int) -> int:
        """What lies before it is asked for no more, but for the newest of it."""
        return now_ns - self.market_ns_max - 2 * SAMPLE_NS

    def reference(self, listed: Listed, now_ns: int) -> Reference | None:
        """The newest quote of an instrument that has reached the executor: sampled, then under way."""
        sampled_ns = (now_ns - self.market_ns_max) // SAMPLE_NS * SAMPLE_NS
        tick = self._tape.newest((listed.exchange, listed.symbol), sampled_ns)
        if tick is None:
            return None
        references = References()
        references.on_quote(
            Quote(
                **DRAFT,
                timestamp_ns=tick.timestamp_ns,
                exchange=tick.exchange,
                symbol=tick.symbol,
                bid=tick.bid,
                ask=tick.ask,
                last=tick.last,
            )
        )
        return references.find(listed)

    def mid(self, listed: Listed, at_ns: int) -> float | None:
        """Mid price at a time, or the last price where a side is missing."""
        tick = self._tape.newest((listed.exchange, listed.symbol), at_ns)
        if tick is None:
            return None
        return tick.last if tick.bid is None or tick.ask is None else (tick.bid + tick.ask) / 2


def to_amount(price: float | None) -> Decimal | None:
    """A price as it was quoted."""
    return None if price is None else Decimal(repr(price))
