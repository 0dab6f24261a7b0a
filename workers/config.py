"""Which workers run, and how patient their host is."""

from typing import Annotated, Any

import msgspec

from common.bus.config import BusConfig

Positive = Annotated[int, msgspec.Meta(gt=0)]

SHIPPED = ("positions", "audit", "risk_monitor", "rules", "notifications")


class WorkersConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The host. `options.NAME` is the table of one worker, which reads it itself."""

    enabled: tuple[str, ...] = SHIPPED
    channels: tuple[str, ...] = ("market", "events")
    history_interval_ms: Positive = 50  # between two looks at a history; a look at nothing new takes 0.05 ms
    health_interval_ms: Positive = 1_000
    restart_pause_ms: Positive = 500  # before a worker that failed is started again; doubles up to
    restart_pause_ms_max: Positive = 60_000
    bus: BusConfig = BusConfig()
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
