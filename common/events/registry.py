"""Every message type that this version sends, and the retired ones that it still reads.

A type that is not here is dropped and counted, never guessed.
"""

from typing import Union

from common.events import auth, challenge, evaluation, market, portfolio, risk, system, trading, upcasting, venue
from common.events.base import Message

MESSAGE_TYPES: tuple[type[Message], ...] = (
    market.Tick,
    market.Ticks,
    market.Quote,
    market.Trade,
    market.BookSnapshot,
    market.BookDelta,
    market.Bar,
    market.SnapshotRequested,
    market.SnapshotReported,
    trading.Signal,
    trading.CancelRequested,
    trading.AmendRequested,
    trading.SignalAcknowledged,
    trading.OrderSubmitted,
    trading.OrderAccepted,
    trading.OrderRejected,
    trading.OrderDenied,
    trading.OrderUnknown,
    trading.OrderPartiallyFilled,
    trading.OrderFilled,
    trading.OrderCancelRequested,
    trading.OrderAmendRequested,
    trading.OrderAmended,
    trading.OrderCancelled,
    trading.OrderExpired,
    trading.TradeExecuted,
    trading.PositionOpened,
    trading.PositionModified,
    trading.PositionClosed,
    trading.PnlUpdated,
    trading.StateRequested,
    trading.StateReported,
    venue.SubmitOrder,
    venue.ReplaceOrder,
    venue.CancelOrder,
    venue.CancelAllOrders,
    venue.OrdersCancelled,
    venue.QueryAccount,
    venue.AccountReported,
    venue.QueryOrder,
    venue.ResendExecutions,
    venue.OrderAnswered,
    venue.RequestRefused,
    venue.ExecutionReported,
    venue.ExecutionsResent,
    portfolio.PortfolioValued,
    portfolio.BalanceUpdated,
    risk.TradingStateChanged,
    risk.TradingHalted,
    risk.TradingResumed,
    risk.LimitBreached,
    risk.AlertTriggered,
    risk.ScoreUpdated,
    risk.ProfileModified,
    risk.AlarmRaised,
    risk.MarginCalled,
    risk.ControlRequested,
    risk.ControlAnswered,
    system.ChannelHeartbeat,
    system.ProcessReported,
    system.ConnectionChanged,
    system.ErrorRaised,
    system.ProcessStarted,
    system.ProcessStopped,
    system.ProcessHung,
    system.MessageDeadLettered,
    system.GapFound,
    system.BreakerOpened,
    system.BreakerClosed,
    system.ReplayControlRequested,
    system.ReplayControlAnswered,
    system.LogPruned,
    challenge.ChallengeStarted,
    challenge.PhaseAdvanced,
    challenge.ChallengeMetricsUpdated,
    challenge.ChallengeCompleted,
    challenge.ChallengeFailed,
    evaluation.RuleViolated,
    evaluation.MetricCalculated,
    evaluation.ReportGenerated,
    evaluation.EvaluationStatusChanged,
    auth.UserRegistered,
    auth.UserLoggedIn,
    auth.UserLoggedOut,
    auth.SessionExpired,
    auth.PermissionGranted,
    auth.PermissionRevoked,
)

AnyMessage = Union[MESSAGE_TYPES]  # type: ignore[valid-type]  # noqa: UP007  # built from the tuple: a type is listed once


def type_name(message_type: type[Message]) -> str:
    """The versioned name on the wire, such as `Market.Tick.Received.v1`."""
    return str(message_type.__struct_config__.tag)


TYPES_BY_NAME: dict[str, type[Message]] = {type_name(message_type): message_type for message_type in MESSAGE_TYPES}
RETIRED_TYPES_BY_NAME: dict[str, type[Message]] = {
    type_name(message_type): message_type for message_type in upcasting.RETIRED_TYPES
}
