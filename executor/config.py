"""How the executor is told what to allow and how long to wait."""

from typing import Annotated

import msgspec

from executor.limits import RiskLimits

Positive = Annotated[int, msgspec.Meta(gt=0)]


class CircuitConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to stop asking an exchange gateway that does not answer, and when to try again."""

    failures_max: Positive = 3  # in a row; one lost answer or a restart of the exchange is not yet an outage
    pause_ms: Positive = 200  # before the first probe; doubles up to
    pause_ms_max: Positive = 1_000  # an exchange that is back is used again within a second


class ExecutorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits and patience of the order path."""

    request_timeout_ms: Positive = 1_000  # a venue answers in 1 to 300 ms; what takes longer is unknown, not failed
    retry_pause_ms: Positive = 100  # before an exchange that did not answer is asked again; doubles up to
    retry_pause_ms_max: Positive = 1_000
    reference_age_ms_max: Positive = 5_000  # an older price is no reference; quiet pairs tick every few seconds
    orders_waiting_max: Positive = 1_000  # behind a silent exchange; above it signals are denied
    # How often an idle executor compares orders, positions and cash with the exchange; also its sign of life there.
    reconcile_interval_ms: Positive = 1_000
    held_ms_max: Positive = 5_000  # an instruction waits so long for the one that it follows: twice the longest resend
    held_instructions_max: Positive = 1_000  # that wait so; what finds no room is sent again by its strategy
    contact_lost_ms_max: Positive = 30_000  # an exchange gateway that is silent for longer halts all trading
    # A start reads the newest snapshot and folds what came after it. Keeping one takes 1 to 2 ms between two turns,
    # most of it for the lookups of so many entries; an executor that is never idle waits for twice as many.
    snapshot_interval_entries: Positive = 250
    # Orders and refusals held in memory after their end, about 3 kB each; older ones are looked up in the journal.
    ended_instructions_max: Positive = 10_000
    heartbeat_interval_ms: Positive = 100
    circuit: CircuitConfig = CircuitConfig()
    risk: RiskLimits = RiskLimits()  # every limit off: the instrument table has those of a single order
