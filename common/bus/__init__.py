"""The event bus: whoever has something to tell publishes it, whoever wants to know of it subscribes.

In:    events (publish, publish_batch, publish_threadsafe; over a link, those of other processes)
Out:   each event to every handler that asks for it, once, in order; what could not be handled to the dead letters
Owns:  the queues between publishers and handlers.
Never: lets one handler's failure, hang or slowness reach another; drops an event without counting it.
"""

from common.bus.address import open_bus
from common.bus.bus import Bus
from common.bus.config import BusConfig
from common.bus.failures import (
    BusClosedError,
    Category,
    HandlerTimeoutError,
    PermanentError,
    PoisonError,
    PublishRefusedError,
    TransientError,
)
from common.bus.filters import (
    Filter,
    combined_filter,
    event_type_filter,
    exchange_filter,
    partition_filter,
    symbol_filter,
    time_range_filter,
)
from common.bus.subscription import Subscription

__all__ = [
    "Bus",
    "BusClosedError",
    "BusConfig",
    "Category",
    "Filter",
    "HandlerTimeoutError",
    "PermanentError",
    "PoisonError",
    "PublishRefusedError",
    "Subscription",
    "TransientError",
    "combined_filter",
    "event_type_filter",
    "exchange_filter",
    "open_bus",
    "partition_filter",
    "symbol_filter",
    "time_range_filter",
]
