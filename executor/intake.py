"""Reading what strategies push. A signal that cannot be read but has an id is refused by name, not dropped."""

from typing import Annotated

import msgspec

from common.errors import WireError, WireFault
from common.events.base import Message
from common.events.registry import type_name
from common.events.trading import AmendRequested, CancelRequested, Signal, StateRequested
from common.ids import check_id, check_name
from common.instruments import check_symbol
from common.wire import codec
from executor.digest import digest_of_bytes

_SIGNAL_TYPE = type_name(Signal)


class UnreadableSignal(msgspec.Struct, frozen=True):
    """A body that calls itself a signal and has an id, but is not one."""

    signal_id: str
    strategy: str
    exchange: str
    symbol: str
    digest: str
    detail: str


class _Names(msgspec.Struct):
    type: str
    signal_id: str
    exchange: str
    symbol: str
    strategy: str


# A bounded amount has up to 33 characters. A refusal quotes what it refuses, and must itself stay readable.
_AmountText = Annotated[str, msgspec.Meta(max_length=64)]


class _Amounts(msgspec.Struct):
    quantity: _AmountText
    limit_price: _AmountText | None = None


_decode_names = msgspec.msgpack.Decoder(_Names).decode
_decode_amounts = msgspec.msgpack.Decoder(_Amounts).decode


def read_pushed(frame: bytes) -> Signal | CancelRequested | AmendRequested | StateRequested | UnreadableSignal:
    """Read one frame of the signals channel.

    Raises:
        WireError: It is nothing that can be answered: drop and count it.
    """
    try:
        message: Message = codec.decode(frame)
    except WireError as error:
        if error.fault is WireFault.MISTYPED:
            return _read_names(frame, error)
        raise
    if isinstance(message, Signal):
        try:
            # A Decimal is read from a number too, but a float is not the amount that its sender meant.
            _decode_amounts(codec.split(frame)[1])
        except msgspec.ValidationError as error:
            return _read_names(frame, WireError(WireFault.MISTYPED, f"{_SIGNAL_TYPE}: {error}"))
        return message
    if isinstance(message, CancelRequested | AmendRequested | StateRequested):
        return message
    raise WireError(
        WireFault.UNEXPECTED,
        f"signals: expected a signal, cancel, amend or state request, was {type_name(type(message))}",
    )


def _read_names(frame: bytes, error: WireError) -> UnreadableSignal:
    topic, body = codec.split(frame)
    try:
        names = _decode_names(body)
        check_id(names.signal_id, "signal_id")
        check_id(names.strategy, "strategy")
        check_name(names.exchange, "exchange")
        check_symbol(names.symbol)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        # ValueError: an id outside its alphabet, or bytes that are no UTF-8.
        raise error from None
    if names.type != _SIGNAL_TYPE or topic != f"{Signal.kind}.{names.exchange}.{names.symbol}".encode():
        raise error
    return UnreadableSignal(
        names.signal_id, names.strategy, names.exchange, names.symbol, digest_of_bytes(body), str(error)[:400]
    )
