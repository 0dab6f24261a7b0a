"""How the executor is told what to allow and how long to wait."""

from typing import Annotated

import msgspec

from executor.limits import RiskLimits

Positive = Annotated[int, msgspec.Meta(gt=0)]


class ExecutorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and patience of the order path."""

    request_timeout_ms: Positive = 1_000  # a venue answers in 1 to 300 ms; what takes longer is unknown, not failed
    retry_pause_ms: Positive = 100  # before an exchange that did not answer is asked again; doubles up to
    retry_pause_ms_max: Positive = 1_000
    reference_age_ms_max: Positive = 5_000  # an older price is no reference; quiet pairs tick every few seconds
    orders_waiting_max: Positive = 1_000  # behind a silent exchange; above it signals are denied
    heartbeat_interval_ms: Positive = 100
    risk: RiskLimits = RiskLimits()  # every limit off: the instrument table has those of a single order
