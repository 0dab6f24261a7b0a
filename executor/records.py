"""What is kept of instructions and of fills."""

from decimal import Decimal

import msgspec

from common.events.trading import AmendRequested, CancelRequested, Side, Signal
from executor.digest import digest_of
from executor.entries import Outcome


class SignalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an instruction: enough to recognise it and to answer for it again."""

    signal_id: str
    strategy: str
    exchange: str
    symbol: str
    digest: str
    client_order_id: str | None = None
    outcome: Outcome | None = None


class Fill(msgspec.Struct, frozen=True):
    """A trade that the exchange may still correct or take back."""

    client_order_id: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal


def record_for(
    instruction: Signal | CancelRequested | AmendRequested,
    instruction_id: str,
    client_order_id: str | None,
    outcome: Outcome | None = None,
) -> SignalRecord:
    """What is kept of an instruction."""
    return SignalRecord(
        signal_id=instruction_id,
        strategy=instruction.strategy,
        exchange=instruction.exchange,
        symbol=instruction.symbol,
        digest=digest_of(instruction),
        client_order_id=client_order_id,
        outcome=outcome,
    )
