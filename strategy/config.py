"""How a strategy process is told what to run: one table `[strategy.NAME]` for each."""

from typing import Annotated, Any, Literal

import msgspec

from common.errors import InvalidValueError
from common.wire.topics import TopicPattern

Positive = Annotated[int, msgspec.Meta(gt=0)]


class StrategyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One strategy: its code, its instruments, its parameters and the limits around it."""

    strategy: str = ""  # entry point name or module:Class; the name of the table unless stated
    instruments: tuple[str, ...] = ("*.*",)  # patterns of exchange.symbol
    parameters: dict[str, Any] = {}
    tick_age_ms_max: Positive = 1_000  # an older tick would trade on a market that is gone
    signal_lifetime_ms: Positive = 5_000  # then the executor must not send it any more
    resend_ms: Positive = 250  # first pause before an unacknowledged signal is sent again; doubles up to
    resend_ms_max: Positive = 2_000
    outbox_signals_max: Positive = 1_000  # unacknowledged instructions; above it buy() raises
    checkpoint_ms: Positive = 1_000  # what a crash costs a strategy's state when it emits nothing meanwhile
    on_stop_orders: Literal["cancel", "leave"] = "leave"  # what an orderly stop does to working orders
    timer_ms: Positive = 1_000
    failures_max: Positive = 10  # callbacks that raised, within the window; then the strategy is halted
    failure_window_s: Positive = 60
    tape: bool = True  # note what the strategy was given and decided, for `tickpulse replay --diff`
    tape_bytes_max: Positive = 1 << 30  # of one life; about 200 M messages. The tape ends there, the strategy goes on
    tapes_kept: Positive = 10  # the one that is written included

    def __post_init__(self) -> None:
        for pattern in self.instruments:
            try:
                TopicPattern(f"tick.{pattern}")
            except InvalidValueError as error:
                raise ValueError(
                    f"instruments: expected exchange.symbol with * in any part, was {pattern!r}"
                ) from error


StrategyConfigs = dict[str, StrategyConfig]
