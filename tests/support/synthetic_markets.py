"""What the gateway would have sent from its synthetic feed: the same ticks, groups and trades, without a socket."""

from common.clock import NS_PER_MS
from common.events.market import Tick, Ticks, Trade
from common.instruments import Instrument
from common.wire import codec
from common.wire.publisher import Publisher
from gateway.config import SyntheticConfig
from gateway.feeds.synthetic import SyntheticFeed
from gateway.normaliser import Normaliser

START_NS = 1_700_000_000_000_000_000


def make_synthetic_market(
    instruments: list[Instrument], *, seed: int, duration_ns: int, rate: float = 2_000
) -> list[Tick | Ticks | Trade]:
    """The messages of so long, in the order in which they were sent; the feed is looked at each ms."""
    frames: list[bytes] = []
    exchange = instruments[0].exchange
    publisher = Publisher(role="gateway", source="gateway", epoch=1, channel="market", send=frames.append)
    feed = SyntheticFeed(SyntheticConfig(exchange=exchange, rate=rate, seed=seed), instruments)
    normaliser = Normaliser(exchange, instruments, publisher, batch_ticks_max=64)
    feed.start(START_NS)
    for now_ns in range(START_NS, START_NS + duration_ns, NS_PER_MS):
        updates = feed.read(now_ns, 1_000)
        if updates:
            normaliser.publish(updates, now_ns)
    messages = (codec.decode(frame) for frame in frames)
    return [message for message in messages if isinstance(message, Tick | Ticks | Trade)]
