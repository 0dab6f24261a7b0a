"""The catalogue as a whole: what each type is, how urgent, who sends it and what answers it."""

from collections.abc import Iterator

import msgspec.inspect as inspected
import pytest

from common.events import market, risk, system, trading, venue
from common.events.base import Command, Event, Message, Priority, Query, Reply
from common.events.registry import MESSAGE_TYPES, type_name

EVENT_TYPES = [message_type for message_type in MESSAGE_TYPES if issubclass(message_type, Event)]
# Released before there was a rule; as for the lists of replies, the limit of 1 MiB for a frame holds for them.
BOUNDED_BY_THE_FRAME = {
    "ChannelHeartbeat.sequences",
    "ProcessReported.counters",
    "ProcessReported.endpoints",
    "ProcessReported.latencies",
}
# Nothing on the wire made them happen; or, for what was released without, their text says what did.
FIRST_CAUSES = {
    *(event_type for event_type in EVENT_TYPES if event_type.__module__ == market.__name__),
    system.ChannelHeartbeat,
    system.ConnectionChanged,
    system.LogPruned,
    system.GapFound,
    system.ProcessReported,
    system.ProcessStarted,
    system.ProcessStopped,
    system.ProcessHung,
    risk.AlarmRaised,
    risk.MarginCalled,
    risk.TradingStateChanged,
    venue.ExecutionReported,
}
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
        (risk.TradingHalted, Priority.CRITICAL),
        (risk.LimitBreached, Priority.CRITICAL),
        (trading.TradeExecuted, Priority.CRITICAL),
        (trading.OrderAccepted, Priority.HIGH),
        (trading.OrderCancelled, Priority.HIGH),
        (trading.PositionModified, Priority.HIGH),
        (market.Tick, Priority.NORMAL),
        (market.Trade, Priority.NORMAL),
        (market.BookDelta, Priority.NORMAL),
        (system.ChannelHeartbeat, Priority.LOW),
        (system.ProcessReported, Priority.LOW),
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


@pytest.mark.parametrize("message_type", [*EVENT_TYPES, *REQUEST_TYPES], ids=type_name)
def test_every_text_and_batch_is_bounded(message_type: type[Message]) -> None:
    """Whoever reads an event can say beforehand how much memory it takes."""
    unbounded = {
        f"{message_type.__name__}.{field.name}"
        for field in inspected.type_info(message_type).fields
        if any(not is_bounded(part) for part in parts_of(field.type))
    }

    assert unbounded - BOUNDED_BY_THE_FRAME == set()


def parts_of(info: inspected.Type) -> Iterator[inspected.Type]:
    """A type and the types that it is made of; what structs hold is looked at in them."""
    yield info
    for part in (*getattr(info, "types", ()), *getattr(info, "item_types", ())):
        yield from parts_of(part)
    for name in ("item_type", "key_type", "value_type"):
        if hasattr(info, name):
            yield from parts_of(getattr(info, name))


def is_bounded(info: inspected.Type) -> bool:
    """Tell whether a type has a largest value."""
    if isinstance(info, inspected.StrType | inspected.BytesType | inspected.ListType | inspected.DictType):
        return info.max_length is not None or getattr(info, "pattern", None) is not None
    return True


def test_options_of_a_message_are_the_same_for_all() -> None:
    """Absent fields cost nothing, nothing is changed after it was sent, and the collector looks at none of them."""
    configs = [message_type.__struct_config__ for message_type in MESSAGE_TYPES]

    assert {(config.frozen, config.gc, config.omit_defaults, config.tag_field) for config in configs} == {
        (True, False, True, "type")
    }


@pytest.mark.parametrize(
    "event_type", [event_type for event_type in EVENT_TYPES if event_type not in FIRST_CAUSES], ids=type_name
)
def test_event_that_has_a_cause_can_name_it(event_type: type[Event]) -> None:
    """From a fill back to its tick."""
    assert {"cause_id", "correlation_id"} <= set(event_type.__struct_fields__)
