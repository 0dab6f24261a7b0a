"""A venue that forgets client ids: what it has forgotten it takes for new, and makes a second order.

To desk, ledger and venue the second order for `id` is `id#2`, a name that no client can give, so each is kept and
counted as what it is; towards clients all of them are `id`. A query that finds nothing is UNDECIDED, where the order
may be one that was forgotten. What works is cancelled and replaced all the same: the venue has an id of its own for it.
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from common.clock import NS_PER_S
from common.events.base import Message
from common.events.venue import (
    AccountReported,
    AnswerOutcome,
    CancelOrder,
    ExecutionReported,
    ExecutionsResent,
    OrderAnswered,
    QueryOrder,
    ReplaceOrder,
    SubmitOrder,
)
from exchange.records import RecordedOrder
from exchange.simulated.faults import FaultsConfig, RememberedFor

SEPARATOR = "#"
M = TypeVar("M")


class ClientIdMemory:
    """Translates ids on their way in and out."""

    def __init__(self, config: FaultsConfig, find: Callable[[str], RecordedOrder | None]) -> None:
        """Remember as the config says what `find` finds in the ledger."""
        self._memory = config.client_id_memory
        self._find = find

    def inward(self, request: M, now_ns: int) -> M:
        """The request as the desk shall see it."""
        if self._memory == "forever":
            return request
        if not isinstance(request, SubmitOrder | ReplaceOrder | CancelOrder | QueryOrder):
            return request
        number, recorded = self._newest(request.client_order_id)
        if recorded is not None and not self._remembers(recorded, now_ns):
            # No order has number 0: what is asked about is not found.
            is_new = isinstance(request, SubmitOrder)
            is_reached = recorded.is_open and isinstance(request, CancelOrder | ReplaceOrder)
            number = number + 1 if is_new else number if is_reached else 0
        return replace(request, client_order_id=_numbered(request.client_order_id, number))

    def outward(self, message: M) -> M:
        """An answer or a report as its client knows it."""
        match message:
            case OrderAnswered() | ExecutionReported():
                return _with_own_id(message)
            case ExecutionsResent():
                return replace(message, executions=[_with_own_id(execution) for execution in message.executions])
            case AccountReported():
                return replace(message, open_orders=[_with_own_id(order) for order in message.open_orders])
        return message

    def weighed(self, request: Message, reply: Message, now_ns: int) -> Message:
        """The desk's answer; that to a query which found nothing says whether this proves anything."""
        is_nothing = isinstance(reply, OrderAnswered) and reply.outcome is AnswerOutcome.NOT_FOUND
        if not (is_nothing and isinstance(request, QueryOrder)) or self._would_know(request, now_ns):
            return reply
        return replace(reply, outcome=AnswerOutcome.UNDECIDED)

    def _would_know(self, request: QueryOrder, now_ns: int) -> bool:
        if isinstance(self._memory, RememberedFor) and request.since_ns is not None:
            return now_ns - request.since_ns <= self._memory.seconds * NS_PER_S
        return self._memory == "forever"

    def _newest(self, client_order_id: str) -> tuple[int, RecordedOrder | None]:
        number, newest = 1, None
        while (found := self._find(_numbered(client_order_id, number))) is not None:
            number, newest = number + 1, found
        return max(1, number - 1), newest

    def _remembers(self, recorded: RecordedOrder, now_ns: int) -> bool:
        if self._memory == "none":
            return False
        if isinstance(self._memory, RememberedFor) and now_ns - recorded.answered_ns <= self._memory.seconds * NS_PER_S:
            return True
        return recorded.is_open


def _numbered(client_order_id: str, number: int) -> str:
    return client_order_id if number == 1 else f"{client_order_id}{SEPARATOR}{number}"


def _with_own_id(message: M) -> M:
    own_id, separator, _ = message.client_order_id.partition(SEPARATOR)  # type: ignore[attr-defined]
    return replace(message, client_order_id=own_id) if separator else message  # type: ignore[type-var]
