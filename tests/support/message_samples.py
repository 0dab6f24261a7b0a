"""A sample of every message type, from which its golden bytes were once made."""

import base64
import math
import struct
from typing import Any

import msgspec

from common.events.base import Message
from common.events.registry import type_name

# Two packed ticks, written without numpy: what any client in any language would write. NaN stands for absent.
RECORDS = b"".join(
    struct.pack("<3q6d", *times, *amounts)
    for times, amounts in (
        ((1_700_000_000_000_000_000, 1_699_999_999_999_500_000, 0), (99.5, 100.5, 1.5, 0.25, math.nan, math.nan)),
        (
            (1_700_000_000_000_000_001, 1_699_999_999_999_500_001, 1_699_999_999_999_000_000),
            (99.5, 100.5, 1, 2, 99.5, 3),
        ),
    )
)

# One value for every field name that a message has, as JSON has it. Where a name means two things, the type says which.
SAMPLES: dict[str, Any] = {
    "accepted_ns": 1_699_999_999_999_000_000,
    "action": "buy",
    "after_arrival_number": 3,
    "aggressor_side": "sell",
    "arrival_number": 4,
    "ask": 60_000.25,
    "ask_size": 1.5,
    "average_price": "60000.125",
    "balance": "1000.00",
    "balances": {"USDT": "1000.00"},
    "bid": 60_000.0,
    "bid_size": 0.25,
    "by": "jane",
    "cash": {"USDT": "-600.25"},
    "cause_id": "gateway:1700000000000:tick.simulated.BTC/USDT:7",
    "channel": "market",
    "circuit": "half_open",
    "client_order_id": "tp-0123456789abcdef0123456789abcd",
    "code": "ORDER_ADOPTED",
    "confidence": 0.75,
    "corrects": 40,
    "correlation_id": "gateway:1700000000000:tick.simulated.BTC/USDT:7",
    "count": 2,
    "counters": {"ticks_published": 12},
    "currency": "USDT",
    "detail": "as expected",
    "endpoints": {"market": "ipc:///run/tickpulse/sockets/market.ipc"},
    "entry_price": "60000.123456789012",
    "epoch": 1_700_000_000_000,
    "exchange": "simulated",
    "exchange_timestamp_ns": 1_699_999_999_999_000_000,
    "execution_number": 42,
    "execution_type": "trade",
    "expires_ns": 1_700_000_005_000_000_000,
    "fee": "-0.0000012",
    "fees": "0.30",
    "filled_quantity": "0.010",
    "follows": "momentum-1700000000000-4",
    "from_number": 41,
    "is_complete": False,
    "is_connected": True,
    "is_done": True,
    "last": 60_000.125,
    "last_id": "momentum-1700000000000-5",
    "last_number": 42,
    "last_price": "60000.25",
    "last_quantity": "0.005",
    "latencies": {"tick_to_acknowledgement": "AAECAw=="},
    "leaves_quantity": "0.000",
    "limit_price": "60000.00",
    "limits": {"order_notional_max": "100000"},
    "liquidity": "maker",
    "local_timestamp_ns": 1_699_999_999_999_500_000,
    "mark_price": "60001.5",
    "order_count": 17,
    "order_quantity": "0.010",
    "order_type": "limit",
    "orders_cancelling": 2,
    "orders_working": 3,
    "outcome": "accepted",
    "peer": "feed",
    "pid": 4711,
    "price": "60000.25",
    "quantity": "0.010",
    "raw_symbol": "BTCUSDT",
    "realised_pnl": "-12.50",
    "reason": "PRICE_OFF_TICK",
    "reduce_only": True,
    "replace_id": "momentum-1700000000000-6",
    "request_id": "1700000000000-3",
    "required": "1200.00",
    "role": "gateway",
    "scope": "strategy:momentum",
    "seq": 7,
    "sequences": {"tick.simulated.BTC/USDT": 7, "trade.simulated.BTC/USDT": 3},
    "severity": "warning",
    "side": "sell",
    "signal_id": "momentum-1700000000000-5",
    "since_ns": 1_699_999_990_000_000_000,
    "source": "gateway",
    "started_ns": 1_699_999_990_000_000_000,
    "state": "ready",
    "status": "partially_filled",
    "strategy": "momentum",
    "subject": "BTC/USDT",
    "subscriber": "momentum",
    "symbol": "BTC/USDT",
    "time_in_force": "gtc",
    "timestamp_ns": 1_700_000_000_000_000_000,
    "topic": "tick.simulated.BTC/USDT",
    "trade_id": "3735693016",
    "trigger_price": 60_000.25,
    "trigger_timestamp_ns": 1_699_999_999_999_900_000,
    "turns": 1_000,
    "unrealised_pnl": "1.25",
    "venue_order_id": "sim-17",
    "volume": 0.125,
}
TYPED_SAMPLES: dict[str, dict[str, Any]] = {
    "ControlRequested": {"action": "halt"},
    "Ticks": {"data": base64.b64encode(RECORDS).decode()},
    "Trade": {"price": 60_000.25, "quantity": 0.125},
    "ScopeState": {"state": "halted"},
    "TradingStateChanged": {"state": "reducing"},
}


def sample_message(message_type: type[Message], *, is_full: bool = True) -> Message:
    """A message with every field, or with the required ones only."""
    fields = _sample_fields(message_type, is_full=is_full)
    return msgspec.convert({"type": type_name(message_type), **fields}, message_type)


def _sample_fields(struct_type: type[msgspec.Struct], *, is_full: bool) -> dict[str, Any]:
    own = TYPED_SAMPLES.get(struct_type.__name__, {})
    return {
        field.name: _nested_sample(field.type, is_full=is_full) or own.get(field.name, SAMPLES.get(field.name))
        for field in msgspec.structs.fields(struct_type)
        if is_full or field.required
    }


def _nested_sample(field_type: Any, *, is_full: bool) -> Any:
    """A sample of a struct, or a list of one; None for anything else."""
    for part in (field_type, *getattr(field_type, "__args__", ())):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            fields = _sample_fields(part, is_full=is_full)
            tag = part.__struct_config__.tag
            fields = fields if tag is None else {"type": tag, **fields}
            return [fields] if field_type is not part and _is_list(field_type) else fields
    return None


def _is_list(field_type: Any) -> bool:
    return getattr(field_type, "__origin__", None) is list
