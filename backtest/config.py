"""What a backtest assumes; `[backtest]` of the config."""

from decimal import Decimal
from typing import Annotated

import msgspec

from common.clock import NS_PER_US
from common.errors import InvalidValueError

LATENCY_US_MAX = 60_000_000
Seed = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Span(msgspec.Struct, frozen=True):
    """How long a message is under way, ns: always the same, or drawn evenly from both ends included."""

    min_ns: int
    max_ns: int

    def __str__(self) -> str:
        low, high = self.min_ns / NS_PER_US, self.max_ns / NS_PER_US
        return f"{low:g} µs" if low == high else f"{low:g}..{high:g} µs"


class LatenciesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """µs for each hop, as a number or `50..300`. What the venue itself takes is in `[exchange.simulated]`."""

    market: float | str = 100.0  # gateway to strategies; one hop over a Unix socket, decoding included
    signal: float | str = 100.0  # strategy to executor
    order: float | str = 100.0  # executor to exchange
    answer: float | str = 100.0  # exchange to executor: answers and executions
    event: float | str = 100.0  # executor to strategies

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            try:
                parse_span(str(getattr(self, name)))
            except InvalidValueError as error:
                raise ValueError(f"{name}: {error}") from error

    def spans(self) -> dict[str, Span]:
        """Every hop's span, by name."""
        return {name: parse_span(str(getattr(self, name))) for name in self.__struct_fields__}


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not already in the config of the processes."""

    latency_us: LatenciesConfig = msgspec.field(default_factory=LatenciesConfig)
    seed: Seed = 0  # of the latencies that are drawn
    starting_equity: Decimal = Decimal(10_000)  # quote units; returns are shares of it
    # 0: as recorded. Else ticks of one instrument reach an `on_ticks` strategy together, once in so many ms.
    group_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 0
    ended_orders_max: Annotated[int, msgspec.Meta(ge=100)] = 1_000  # kept after their end, about 3 kB each
    samples_max: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)] = 5_000  # of equity, over the whole range

    def __post_init__(self) -> None:
        if not (self.starting_equity.is_finite() and self.starting_equity > 0):
            raise ValueError(f"starting_equity: expected an amount above 0, was {self.starting_equity}")


def parse_span(text: str) -> Span:
    """Read `100` or `50..300`, in µs.

    Raises:
        InvalidValueError: It is neither, or not within 0 and 60 s.
    """
    low, dots, high = text.partition("..")
    try:
        first, last = float(low), float(high if dots else low)
    except ValueError:
        first, last = -1.0, -1.0
    if not 0 <= first <= last <= LATENCY_US_MAX:
        raise InvalidValueError(f"latency: expected µs from 0 to {LATENCY_US_MAX}, as 100 or 50..300, was {text!r}")
    return Span(round(first * NS_PER_US), round(last * NS_PER_US))
