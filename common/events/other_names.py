"""What other designs of such systems call these events, and what stands for each of them here."""

from typing import NamedTuple

from common.events import auth, challenge, evaluation, market, portfolio, risk, system, trading, venue
from common.events.base import Event, Message


class OtherName(NamedTuple):
    """Names that mean the same, our types for them, and where ours differ."""

    names: tuple[str, ...]
    types: tuple[type[Message], ...]
    remark: str = ""


_FILLS = (trading.OrderPartiallyFilled, trading.OrderFilled)

OTHER_NAMES = (
    OtherName(("BaseEvent", "DomainEvent", "Event"), (Event,), "`event_id` is derived from the place in the stream"),
    OtherName(
        ("MarketDataEvent",),
        (market.Tick, market.Quote, market.Trade, market.BookSnapshot, market.BookDelta, market.Bar),
        "an abstract class there: the domain Market",
    ),
    OtherName(("TickEvent",), (market.Tick, market.Ticks), "several of one instrument may come packed"),
    OtherName(("QuoteEvent",), (market.Quote,)),
    OtherName(("TradeEvent",), (market.Trade,), "a public trade; our own is TradeExecuted"),
    OtherName(("OrderBookEvent",), (market.BookSnapshot, market.BookDelta)),
    OtherName(("BarEvent", "CandleEvent"), (market.Bar,)),
    OtherName(("SignalEvent",), (trading.Signal, trading.SignalAcknowledged)),
    OtherName(
        ("OrderEvent",), (trading.OrderEvent,), "an abstract class, of the events from OrderSubmitted to OrderExpired"
    ),
    OtherName(("OrderSubmittedEvent", "Trading.Order.Placed.v1"), (trading.OrderSubmitted,)),
    OtherName(("OrderAcceptedEvent",), (trading.OrderAccepted,)),
    OtherName(
        ("OrderRejectedEvent",), (trading.OrderRejected, trading.OrderDenied), "by the exchange, or before it left us"
    ),
    OtherName(("OrderPartiallyFilledEvent",), (trading.OrderPartiallyFilled,)),
    OtherName(("OrderFilledEvent", "Trading.Order.Filled.v1"), _FILLS, "partial and full fills are told apart"),
    OtherName(("FillEvent", "Trading.Trade.Executed.v1"), (trading.TradeExecuted, venue.ExecutionReported)),
    OtherName(("OrderCancelledEvent", "Trading.Order.Cancelled.v1"), (trading.OrderCancelled,)),
    OtherName(("OrderExpiredEvent",), (trading.OrderExpired,)),
    OtherName(
        ("PositionEvent",), (trading.PositionEvent,), "an abstract class, of the three that follow; one per instrument"
    ),
    OtherName(("PositionOpenedEvent", "Trading.Position.Opened.v1"), (trading.PositionOpened,)),
    OtherName(
        ("PositionModifiedEvent", "PositionUpdatedEvent", "Trading.Position.Modified.v1"), (trading.PositionModified,)
    ),
    OtherName(("PositionClosedEvent", "Trading.Position.Closed.v1"), (trading.PositionClosed,)),
    OtherName(("Trading.PnL.Updated.v1",), (trading.PnlUpdated,)),
    OtherName(("PortfolioEvent",), (portfolio.PortfolioValued, portfolio.BalanceUpdated), "an abstract class there"),
    OtherName(("PortfolioValueEvent",), (portfolio.PortfolioValued,)),
    OtherName(("RiskLimitBreachedEvent", "RiskLimitEvent", "Risk.Limit.Breached.v1"), (risk.LimitBreached,)),
    OtherName(("MarginCallEvent",), (risk.MarginCalled,)),
    OtherName(("Risk.Alert.Triggered.v1",), (risk.AlertTriggered, risk.AlarmRaised), "of risk, and of operations"),
    OtherName(("Risk.Score.Updated.v1",), (risk.ScoreUpdated,)),
    OtherName(("Risk.Profile.Modified.v1",), (risk.ProfileModified,)),
    OtherName(
        ("Risk.Trading.Halted.v1",), (risk.TradingHalted, risk.TradingStateChanged), "the second tells reducing too"
    ),
    OtherName(("Risk.Trading.Resumed.v1",), (risk.TradingResumed, risk.TradingStateChanged)),
    OtherName(
        ("SystemEvent",),
        (system.ProcessStarted, system.ProcessStopped, system.ProcessHung),
        "an abstract class there: the domain System",
    ),
    OtherName(("ConnectionEvent",), (system.ConnectionChanged,)),
    OtherName(("ErrorEvent",), (system.ErrorRaised,)),
    OtherName(("HeartbeatEvent",), (system.ChannelHeartbeat, system.ProcessReported), "of a channel, and of a process"),
    OtherName(("Challenge.Started.v1",), (challenge.ChallengeStarted,), "every name has an entity here"),
    OtherName(("Challenge.Completed.v1",), (challenge.ChallengeCompleted,)),
    OtherName(("Challenge.Failed.v1",), (challenge.ChallengeFailed,)),
    OtherName(
        ("Challenge.Phase.Advanced.v1", "Challenge.Phase.Completed.v1"),
        (challenge.PhaseAdvanced,),
        "the end of one phase is the begin of the next; of the last one it is ChallengeCompleted",
    ),
    OtherName(("Challenge.Metrics.Updated.v1",), (challenge.ChallengeMetricsUpdated,)),
    OtherName(("Evaluation.Rule.Violated.v1",), (evaluation.RuleViolated,)),
    OtherName(("Evaluation.Metric.Calculated.v1",), (evaluation.MetricCalculated,)),
    OtherName(("Evaluation.Report.Generated.v1",), (evaluation.ReportGenerated,)),
    OtherName(("Evaluation.Status.Changed.v1",), (evaluation.EvaluationStatusChanged,)),
    OtherName(("Auth.User.Registered.v1",), (auth.UserRegistered,)),
    OtherName(("Auth.User.LoggedIn.v1",), (auth.UserLoggedIn,)),
    OtherName(("Auth.User.LoggedOut.v1",), (auth.UserLoggedOut,)),
    OtherName(("Auth.Session.Expired.v1",), (auth.SessionExpired,)),
    OtherName(("Auth.Permission.Granted.v1",), (auth.PermissionGranted,)),
    OtherName(("Auth.Permission.Revoked.v1",), (auth.PermissionRevoked,)),
)
