"""The gateway in virtual time: feed and normaliser are the real ones."""

from collections.abc import Sequence

from chaos.facts import Size
from chaos.machine import Machine
from common.clock import NS_PER_MS
from common.wire.publisher import Publisher
from gateway.config import SyntheticConfig
from gateway.feeds.synthetic import SyntheticFeed
from gateway.normaliser import Normaliser

EXCHANGE = "simulated"
TICKS_PER_S = 120.0
HEARTBEAT_NS = 50 * NS_PER_MS
QUOTE_NS = 20 * NS_PER_MS


class GatewayNode:
    """Publishes what is due."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self._machine = machine
        self._publisher = Publisher(
            role="gateway",
            source=machine.name,
            epoch=machine.epoch,
            channel="market",
            send=lambda frame: machine.send("market", frame),
        )
        instruments = list(machine.instruments)
        # Another life sees another market: prices do not begin again.
        config = SyntheticConfig(exchange=EXCHANGE, rate=TICKS_PER_S, seed=seed + machine.epoch)
        self._feed = SyntheticFeed(config, instruments)
        self._normaliser = Normaliser(EXCHANGE, instruments, self._publisher, batch_ticks_max=64)
        self._by_raw_symbol = {instrument.raw_symbol: instrument for instrument in instruments}
        self._feed.start(machine.now_ns)
        self._next_heartbeat_ns = self._next_quotes_ns = machine.now_ns

    def receive(self, channel: str, frame: bytes) -> None:
        """Nobody sends it anything."""

    def turn(self) -> None:
        now_ns = self._machine.now_ns
        if updates := self._feed.read(now_ns, 1_000):
            self._normaliser.publish(updates, now_ns)
            for update in updates:
                self._machine.facts.note_price(self._by_raw_symbol[update.raw_symbol], now_ns)
        if now_ns >= self._next_heartbeat_ns:
            self._publisher.heartbeat(now_ns)
            self._next_heartbeat_ns = now_ns + HEARTBEAT_NS
        if now_ns >= self._next_quotes_ns:
            self._normaliser.sample(is_refresh=False)
            self._next_quotes_ns = now_ns + QUOTE_NS

    def sizes(self) -> Sequence[Size]:
        return ()

    def die(self) -> None:
        """It holds nothing that anybody misses."""
