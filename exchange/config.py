"""How the exchange gateway is told which venue to place orders at."""

from typing import Annotated, Literal

import msgspec

from exchange.simulated.config import SimulatedVenueConfig

Positive = Annotated[int, msgspec.Meta(gt=0)]


class ExchangeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue, and how often it looks at the market."""

    venue: Literal["simulated"] = "simulated"
    simulated: SimulatedVenueConfig = msgspec.field(default_factory=SimulatedVenueConfig)
    # Fills follow the ticks' own times, so looking once a ms changes no result and saves a wake-up for each tick.
    market_interval_ms: Positive = 1
    heartbeat_interval_ms: Positive = 100
    # The dead-man's switch: an executor asks for its account each second, so this is ten times. 0: off.
    silence_ms_max: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    on_silence: Literal["cancel", "leave"] = "cancel"  # what becomes of a silent executor's working orders
