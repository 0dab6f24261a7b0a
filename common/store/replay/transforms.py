"""What changes messages between the log and who they are played to: functions that a user names as `module:function`.

    def halve_the_size(message):
        if isinstance(message, Trade):
            return msgspec.structs.replace(message, quantity=message.quantity / 2)
        return message

One takes a message and gives back a message, None to drop it, or a list of messages. The store stays as it is.
"""

from collections.abc import Callable, Iterator, Sequence

from common.errors import TickpulseError
from common.events.base import Message
from common.events.registry import type_name
from common.store.record import Record
from common.store.times import format_time_ns

Transform = Callable[[Message], Message | list[Message] | None]


class TransformError(TickpulseError):
    """A transform raised, or gave back what is no message. What came before it was played."""


def transformed(records: Iterator[Record], transforms: Sequence[Transform]) -> Iterator[Message]:
    """The messages of records after every transform, each in turn.

    Raises:
        TransformError: It names the record, the transform and what went wrong.
    """
    for record in records:
        messages = [record.message]
        for transform in transforms:
            messages = [changed for message in messages for changed in _apply(transform, message, record)]
        yield from messages


def _apply(transform: Transform, message: Message, record: Record) -> Sequence[Message]:
    try:
        changed = transform(message)
    except Exception as error:
        raise TransformError(f"{_place(transform, record)}: {type(error).__name__}: {error}") from error
    if changed is None:
        return ()
    messages = changed if isinstance(changed, list) else [changed]
    for each in messages:
        if not isinstance(each, Message):
            raise TransformError(
                f"{_place(transform, record)}: expected a message, None or a list of them, was {type(each).__name__}"
            )
    return messages


def _place(transform: Transform, record: Record) -> str:
    name = f"{getattr(transform, '__module__', '')}:{getattr(transform, '__qualname__', type(transform).__name__)}"
    message = record.message
    return (
        f"transform {name} at record {record.id} ({type_name(type(message))}, {format_time_ns(message.timestamp_ns)})"
    )
