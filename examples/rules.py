"""A strategy made of rules: buys a run of rises unless the spread is wide, and sells what it holds on a run down.

    tickpulse demo --run-dir run --duration 600 &
    tickpulse strategy ruled --run-dir run --as examples.rules:Ruled --param notional=200

Run by itself it shows the same rules in a plain loop, as a worker feeds them: `python examples/rules.py`.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from common.events.base import DRAFT
from common.events.market import Tick
from common.rules import Finding, RuleEngine, Window, found, last, last_seconds, rule, sequence
from common.rules.measures import mid_price, spread_bps
from common.rules.shipped.momentum import momentum
from strategy.base import Host, Strategy


@rule(on=Tick, spread=last_seconds(30, of=spread_bps))
def wide(tick: Tick, spread: Window) -> Finding | None:
    """Windows: the spread is more than twice what it was in the last half minute."""
    return found(tick, "wide spread", bps=spread.last) if spread.last > 2 * spread.mean else None


@rule(on=sequence(Tick).without(Tick, within_s=2))
def silent(matched: tuple[Tick]) -> Finding:
    """Sequences: a symbol had a tick, and then none for two seconds."""
    return found(matched[0], "no tick for 2 s")


class Ruled(Strategy):
    """Its methods that are rules are in `self.rules`; `add` takes more, here one whose length is a parameter."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """Set with --param, or in [strategy.NAME.parameters]."""

        notional: Annotated[float, msgspec.Meta(gt=0)] = 100.0  # of one order, quote units
        rises: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 4

    def __init__(self, host: Host, parameters: Parameters) -> None:
        super().__init__(host, parameters)
        self.rules.add(momentum(parameters.rises))
        self.rules.add(wide)

    def on_tick(self, tick: Tick) -> None:
        """Let the rules see it, and act on what they say."""
        said = {output.rule for output in self.rules.feed(tick) if isinstance(output, Finding)}
        if "momentum_rising" in said and "wide" not in said and not self.position(tick).quantity:
            self.buy(tick, self.parameters.notional / (mid_price(tick) or 1))

    @rule(on=Tick, mid=last(5, of=mid_price).changes())
    def leave(self, tick: Tick, mid: Window) -> None:
        """A rule may also act by itself."""
        held = self.position(tick).quantity
        if held > 0 and mid.falling >= 4 and not self.pending_signals(tick):
            self.sell(tick, held, reduce_only=True)

    def save_state(self) -> dict[str, Any]:
        """Windows go on after a restart."""
        return self.rules.save_state()

    def load_state(self, state: dict[str, Any]) -> None:
        """As they were."""
        self.rules.load_state(state)


def some_ticks() -> Iterator[Tick]:
    """Ten a second: the price rises, the spread jumps, and then there is nothing."""
    for number in range(40):
        mid, spread = 100 + number % 7, 0.5 if number == 30 else 0.02
        yield Tick(
            **DRAFT,
            timestamp_ns=number * 100_000_000,
            exchange="simulated",
            symbol="BTC/USDT",
            raw_symbol="BTCUSDT",
            local_timestamp_ns=0,
            bid=mid - spread / 2,
            ask=mid + spread / 2,
        )


def main() -> None:
    """What a worker does with the events that it receives."""
    rules = RuleEngine([wide, silent, momentum(6)])
    for tick in some_ticks():
        for output in rules.feed(tick):
            print(output)
    for output in rules.advance(10_000_000_000):
        print(output)
    print(rules.counters())


if __name__ == "__main__":
    main()
