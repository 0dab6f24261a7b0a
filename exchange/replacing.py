"""Why a working order cannot have other terms, as far as any venue's gateway knows."""

from common.events.venue import ReplaceOrder, SubmitOrder
from exchange.records import Halt, RecordedOrder, keeps_place
from exchange.refusals import GatewayReason, Refusal


def expiry_refusal(request: SubmitOrder | ReplaceOrder, now_ns: int) -> Refusal | None:
    """Refuse what comes too late, so that nothing that is still on its way can surprise anyone."""
    if request.expires_ns > now_ns:
        return None
    return Refusal(GatewayReason.EXPIRED, f"expires_ns: expected later than {now_ns}, was {request.expires_ns}")


def halt_refusal(halt: Halt) -> Refusal:
    """Refuse what could add risk while a person has to look."""
    return Refusal(
        GatewayReason.COUNT_MISMATCH,
        f"halted: {halt.source} said {halt.order_count} orders, {halt.counted} were counted; compare its journal with "
        f"`tickpulse ledger`, then start the exchange with --clear-halt",
    )


def replace_refusal(request: ReplaceOrder, recorded: RecordedOrder, halt: Halt | None, now_ns: int) -> Refusal | None:
    """The first reason not to ask the venue for a replacement."""
    if (refusal := expiry_refusal(request, now_ns)) is not None:
        return refusal
    if not recorded.is_open:
        return Refusal(f"ORDER_{recorded.status.upper()}", "the order works no more")
    if recorded.limit_price is None:
        return Refusal(GatewayReason.NOT_A_LIMIT_ORDER, "only a limit order can have other terms")
    # Said the other way round NaN would pass.
    if not (request.quantity.is_finite() and request.quantity > recorded.filled_quantity):
        detail = f"quantity: expected more than the {recorded.filled_quantity} that are filled"
        return Refusal(GatewayReason.QUANTITY_FILLED, detail)
    if halt is not None and not (request.limit_price.is_finite() and _only_shrinks(request, recorded)):
        return halt_refusal(halt)
    return None


def _only_shrinks(request: ReplaceOrder, recorded: RecordedOrder) -> bool:
    return keeps_place(recorded, request.quantity, request.limit_price)
