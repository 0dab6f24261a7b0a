"""What every message has: its versioned type, who sent it, and its place in the stream of its topic.

Each message is exactly one of four: an `Event` tells what happened, a `Command` asks for something that may be refused,
a `Query` asks what is, and a `Reply` answers one of the last two.
"""

import enum
from typing import Annotated, ClassVar, TypedDict

import msgspec

from common.ids import make_event_id

# Constraints accept what is inside a range, so NaN passes none of them. The look-ahead closes a hole: `$` alone
# would accept a newline at the end.
Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}$(?!\n)")]
EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Name = Annotated[str, msgspec.Meta(max_length=64)]
Symbol = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
Text = Annotated[str, msgspec.Meta(max_length=500)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$(?!\n)")]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,16}$(?!\n)")]
Scope = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,64}$(?!\n)")]
Count = Annotated[int, msgspec.Meta(ge=0)]
# What every file can hold: one message beyond it must not cost a recorder the batch that it came in.
TimestampNs = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Price = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
Size = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type"):
    """Whatever travels as one frame.

    `source`, `epoch` and `seq` are set by the publisher when it sends; a draft carries `DRAFT` in their place.
    Without garbage collection: a message never refers back to itself, and 50 k of them a second would keep the
    collector busy.
    """

    kind: ClassVar[str]  # first part of the topic
    # Processes that send it; `every` for all of them; none where it is for services beside the pipeline.
    emitters: ClassVar[tuple[str, ...]] = ()

    source: Name
    epoch: Count
    seq: Count
    timestamp_ns: TimestampNs

    def topic(self) -> str:
        """`{kind}.{exchange}.{symbol}`."""
        raise NotImplementedError(f"{type(self).__name__} has no topic")

    def event_id(self) -> str:
        """Name of this message, derived from its place; unique for ever."""
        return make_event_id(self.source, self.epoch, self.topic(), self.seq)


class Priority(enum.IntEnum):
    """Which event goes first where several wait; the lower number does."""

    CRITICAL = 0  # fills, broken limits, margin calls, halts
    HIGH = 1  # changes of orders and positions, signals, faults
    NORMAL = 2  # market data
    LOW = 3  # metrics, heartbeats, progress


class Event(Message, frozen=True, gc=False, omit_defaults=True):
    """It happened. Nobody can refuse it; whoever reads it may see it twice, and knows it by its `event_id`."""

    priority: ClassVar[Priority] = Priority.NORMAL


class Command(Message, frozen=True, gc=False, omit_defaults=True):
    """A request that may be refused; a refusal has an UPPER_CASE `reason`."""

    answer: ClassVar[str]  # kind of the message that answers it


class Query(Message, frozen=True, gc=False, omit_defaults=True):
    """A question; asking it changes nothing."""

    answer: ClassVar[str]  # kind of the message that answers it


class Reply(Message, frozen=True, gc=False, omit_defaults=True):
    """The answer to one command or query, whose `request_id` it carries."""


class ListedMessage(Message, frozen=True, gc=False, omit_defaults=True):
    """A message about one instrument: its topic follows from its fields."""

    exchange: Name
    symbol: Symbol

    def topic(self) -> str:
        return f"{self.kind}.{self.exchange}.{self.symbol}"


class Identity(TypedDict):
    """The fields that a publisher fills in."""

    source: str
    epoch: int
    seq: int


DRAFT: Identity = {"source": "", "epoch": 0, "seq": 0}
