"""The instrument table: what can be traded and on which grid of prices and sizes.

A strategy rounds through it; the executor refuses what is off it and never rounds.
"""

import decimal
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Protocol

import msgspec

from common import money
from common.errors import ConfigError, InvalidValueError
from common.ids import check_name

SYMBOL_CHARACTERS_MAX = 48


class Listed(Protocol):
    """Whatever names an instrument: a tick, a trade, a signal, an order, the instrument itself."""

    @property
    def exchange(self) -> str: ...
    @property
    def symbol(self) -> str: ...


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tradable symbol of one exchange. Prices in quote units, quantities in base units.

    The defaults are those of a large spot pair; a venue's own filters belong in tickpulse.toml.
    """

    exchange: str
    symbol: str  # ccxt unified form, such as BTC/USDT or BTC/USDT:USDT
    raw_symbol: str  # the venue's own form, such as BTCUSDT
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal | None = None  # one lot unless stated
    max_quantity: Decimal = Decimal(1_000_000)
    min_notional: Decimal = Decimal(0)
    max_notional: Decimal = Decimal(1_000_000)

    def __post_init__(self) -> None:
        try:
            check_name(self.exchange, "instrument exchange")
            check_symbol(self.symbol)
            check_symbol(self.raw_symbol)
        except InvalidValueError as error:
            raise ValueError(str(error)) from error
        for field in ("tick_size", "lot_size", "min_quantity", "max_quantity", "max_notional"):
            amount = getattr(self, field)
            if amount is not None and not (money.is_bounded(amount) and amount > 0):
                raise ValueError(f"{self.name}: {field}: expected a finite amount above 0, was {amount}")
        if not (money.is_bounded(self.min_notional) and self.min_notional >= 0):
            raise ValueError(f"{self.name}: min_notional: expected 0 or more, was {self.min_notional}")

    @property
    def name(self) -> str:
        """`{exchange}.{symbol}`, as in topics, options and logs."""
        return f"{self.exchange}.{self.symbol}"

    @property
    def quantity_floor(self) -> Decimal:
        """The smallest quantity that an order may have."""
        return self.lot_size if self.min_quantity is None else self.min_quantity

    def round_price(self, price: float | Decimal, rounding: str = decimal.ROUND_HALF_EVEN) -> Decimal:
        """Put a price on the tick grid.

        Raises:
            InvalidValueError: The price is not finite.
        """
        return money.round_to_step(_to_decimal(price, f"{self.name} price"), self.tick_size, rounding)

    def round_quantity(self, quantity: float | Decimal) -> Decimal:
        """Put a quantity on the lot grid, downwards: never more than was asked for.

        Raises:
            InvalidValueError: The quantity is not finite.
        """
        return money.round_to_step(_to_decimal(quantity, f"{self.name} quantity"), self.lot_size, decimal.ROUND_FLOOR)


class InstrumentTable:
    """All instruments of a run, found by unified or by raw symbol."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol: dict[tuple[str, str], Instrument] = {}
        self._by_raw_symbol: dict[tuple[str, str], Instrument] = {}
        for instrument in instruments:
            key = (instrument.exchange, instrument.symbol)
            if key in self._by_symbol:
                raise ConfigError(f"instruments: {instrument.name} is listed twice; remove one of the entries")
            raw_key = (instrument.exchange, instrument.raw_symbol)
            if raw_key in self._by_raw_symbol:
                raise ConfigError(
                    f"instruments: raw symbol {instrument.raw_symbol} of {instrument.exchange} is listed twice; "
                    "the venue's prices could belong to either"
                )
            self._by_symbol[key] = self._by_raw_symbol[raw_key] = instrument

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __len__(self) -> int:
        return len(self._by_symbol)

    def find(self, listed: Listed) -> Instrument | None:
        """The entry that something listed belongs to."""
        return self._by_symbol.get((listed.exchange, listed.symbol))

    def find_raw(self, exchange: str, raw_symbol: str) -> Instrument | None:
        """The entry with the venue's own spelling."""
        return self._by_raw_symbol.get((exchange, raw_symbol))

    def of_exchange(self, exchange: str) -> list[Instrument]:
        """The instruments of one exchange, in the order of the config."""
        return [instrument for instrument in self if instrument.exchange == exchange]

    def named(self, name: str) -> Instrument:
        """The entry called `{exchange}.{symbol}`.

        Raises:
            ConfigError: There is none; the message lists those there are.
        """
        exchange, _, symbol = name.partition(".")
        instrument = self._by_symbol.get((exchange, symbol))
        if instrument is None:
            known = ", ".join(entry.name for entry in self) or "none"
            raise ConfigError(f"instrument {name!r} is not in the table; known: {known}")
        return instrument


def quote_currency(symbol: str) -> str:
    """What prices of a ccxt symbol are in: USDT for BTC/USDT and BTC/USDT:USDT; one without a slash is its own."""
    return symbol.partition("/")[2].partition(":")[0] or symbol


def check_symbol(symbol: str) -> str:
    """Give a symbol back when it may stand in a topic.

    Raises:
        InvalidValueError: It is empty, too long or has a control character, a blank or a `*`.
    """
    is_fit = 0 < len(symbol) <= SYMBOL_CHARACTERS_MAX and symbol.isascii() and symbol.isprintable()
    if not is_fit or " " in symbol or "*" in symbol:
        raise InvalidValueError(
            f"symbol: expected 1 to {SYMBOL_CHARACTERS_MAX} printable ASCII characters without blank or '*', "
            f"was {symbol[:80]!r}"
        )
    return symbol


def _to_decimal(value: float | Decimal, what: str) -> Decimal:
    # repr() of a float is its shortest exact spelling: 0.1 becomes 0.1, not 0.1000000000000000055.
    amount = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    if not amount.is_finite():
        raise InvalidValueError(f"{what}: expected a finite number, was {value}")
    return amount
