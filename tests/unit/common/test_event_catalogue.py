"""The catalogue as a whole: what each type is, how urgent, who sends it and what answers it."""

import pytest

from common.events import market, risk, trading, venue
from common.events.base import Command, Event, Message, Priority, Query, Reply
from common.events.registry import MESSAGE_TYPES, type_name

EVENT_TYPES = [message_type for message_type in MESSAGE_TYPES if issubclass(message_type, Event)]
REQUEST_TYPES = [message_type for message_type in MESSAGE_TYPES if issubclass(message_type, Command | Query)]


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)
def test_message_is_exactly_one_of_event_command_query_and_reply(message_type: type[Message]) -> None:
    """It happened, please do, please tell, or the answer: never two of them."""
    kinds = [kind for kind in (Event, Command, Query, Reply) if issubclass(message_type, kind)]

    assert len(kinds) == 1


@pytest.mark.parametrize(
    ("event_type", "priority"),
    [
        (trading.OrderFilled, Priority.CRITICAL),
        (trading.OrderPartiallyFilled, Priority.CRITICAL),
        (venue.ExecutionReported, Priority.CRITICAL),
        (risk.MarginCalled, Priority.CRITICAL),
        (risk.TradingStateChanged, Priority.CRITICAL),
        (trading.OrderAccepted, Priority.HIGH),
        (trading.OrderCancelled, Priority.HIGH),
        (trading.PositionModified, Priority.HIGH),
        (market.Tick, Priority.NORMAL),
        (market.Trade, Priority.NORMAL),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_priority_follows_what_is_at_stake(event_type: type[Event], priority: Priority) -> None:
    """Money first, then orders and positions, then the market, then what only people and charts read."""
    assert event_type.priority is priority


@pytest.mark.parametrize("event_type", EVENT_TYPES, ids=type_name)
def test_event_has_a_priority(event_type: type[Event]) -> None:
    """One of the four, set or inherited."""
    assert isinstance(event_type.priority, Priority)


@pytest.mark.parametrize("request_type", REQUEST_TYPES, ids=type_name)
def test_request_names_the_kind_of_its_answer(request_type: type[Command | Query]) -> None:
    """And what answers a command has a place for the reason of a refusal, except where it counts what it did."""
    (answer,) = [message_type for message_type in MESSAGE_TYPES if message_type.kind == request_type.answer]

    assert issubclass(answer, Reply | Event)
    if issubclass(request_type, Command) and request_type is not venue.CancelAllOrders:
        assert "reason" in answer.__struct_fields__
