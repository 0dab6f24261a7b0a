"""The account: what all executions together have left in each instrument and in each quote currency."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal

from common.events.venue import ExecutionReported, ExecutionType, VenuePosition
from common.instruments import quote_currency
from common.money import EXACT, ZERO

FindExecution = Callable[[int], ExecutionReported]


class Account:
    """A fold over the executions in the order of their numbers; exact to the last digit."""

    def __init__(self, find_execution: FindExecution) -> None:
        """Begin with nothing; `find_execution` gives the trade that a correction is about."""
        self._find_execution = find_execution
        self._positions: defaultdict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        self._cash: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)

    def apply(self, execution: ExecutionReported) -> None:
        """Take one execution in."""
        match execution.execution_type:
            case ExecutionType.TRADE:
                self._book(execution, is_undone=False)
            case ExecutionType.TRADE_CANCEL:
                self._book(self._corrected(execution), is_undone=True)
            case ExecutionType.TRADE_CORRECT:
                self._book(self._corrected(execution), is_undone=True)
                self._book(execution, is_undone=False)

    def positions(self) -> list[VenuePosition]:
        """What is held, by instrument; what is closed is left out."""
        return [
            VenuePosition(exchange=exchange, symbol=symbol, quantity=quantity)
            for (exchange, symbol), quantity in sorted(self._positions.items())
            if quantity
        ]

    def cash(self) -> dict[str, Decimal]:
        """What fills and fees have changed since the venue's beginning, per quote currency."""
        return dict(self._cash)

    def _corrected(self, correction: ExecutionReported) -> ExecutionReported:
        return self._find_execution(correction.corrects or 0)

    def _book(self, trade: ExecutionReported, *, is_undone: bool) -> None:
        is_buy = trade.side == "buy"
        move = EXACT.add if is_buy is not is_undone else EXACT.subtract
        instrument = (trade.exchange, trade.symbol)
        self._positions[instrument] = move(self._positions[instrument], trade.quantity)
        pay = EXACT.subtract if is_buy is not is_undone else EXACT.add
        charge = EXACT.add if is_undone else EXACT.subtract
        currency = quote_currency(trade.symbol)
        cash = pay(self._cash[currency], EXACT.multiply(trade.price or ZERO, trade.quantity))
        self._cash[currency] = charge(cash, trade.fee or ZERO)
