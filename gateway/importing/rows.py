"""What one row of a table says: a tick or a trade, or why it is refused. Pure."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from common.clock import NS_PER_S
from common.errors import ConfigError
from common.events.base import DRAFT
from common.events.market import AMOUNT_MAX, Tick
from common.instruments import Instrument, InstrumentTable
from gateway.feeds.base import TradeUpdate
from gateway.feeds.binance import LOCAL_NS_MAX, LOCAL_NS_MIN
from gateway.importing.mapping import UNITS_NS, TableMapping

Value = Any  # text of CSV; of Parquet an int, float, Decimal, bool, text or None
TRADE_ID_CHARACTERS_MAX = 64
SIDES: Mapping[str, Literal["buy", "sell"]] = {"buy": "buy", "b": "buy", "sell": "sell", "s": "sell"}
TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
_find_fraction = re.compile(r"(.*\d{2}:\d{2}:\d{2})[.,](\d+)(.*)").fullmatch
_find_integer = re.compile(r"[+-]?\d{1,20}", re.ASCII).fullmatch


class Refusal(Exception):  # noqa: N818  # a row that is refused is no error of ours
    """Why a row is not taken: `field` names its column."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class RowReader:
    """Reads the rows of one table."""

    def __init__(self, mapping: TableMapping, places: Mapping[str, int], instruments: InstrumentTable) -> None:
        """Prepare for a table whose fields are at these places of a row."""
        self._mapping = mapping
        self._places = places
        self._instruments = instruments
        self._find = functools.cache(self._find_instrument)
        self.read: Callable[[Sequence[Value]], Tick | tuple[str, TradeUpdate]] = (
            self.read_tick if mapping.kind == "ticks" else self.read_trade
        )

    def read_tick(self, row: Sequence[Value]) -> Tick:
        """The tick of a row, a draft.

        Raises:
            Refusal: A value is missing or none that its place allows.
            ConfigError: Its instrument is not in the table.
        """
        local_ns = self._time(row, "timestamp")
        instrument = self._instrument(row)
        prices = {name: self._amount(row, name) for name in ("bid", "ask", "last")}
        if all(price is None for price in prices.values()):
            raise Refusal("bid", "expected a bid, an ask or a last price, was none")
        return Tick(
            **DRAFT,
            timestamp_ns=self._required(local_ns, "timestamp"),
            exchange=instrument.exchange,
            symbol=instrument.symbol,
            raw_symbol=instrument.raw_symbol,
            local_timestamp_ns=self._required(local_ns, "timestamp"),
            bid_size=self._amount(row, "bid_size"),
            ask_size=self._amount(row, "ask_size"),
            volume=self._amount(row, "volume"),
            exchange_timestamp_ns=self._time(row, "exchange_timestamp"),
            **prices,
        )

    def read_trade(self, row: Sequence[Value]) -> tuple[str, TradeUpdate]:
        """The exchange and the trade of a row.

        Raises:
            Refusal: As of `read_tick`.
            ConfigError: As of `read_tick`.
        """
        local_ns = self._required(self._time(row, "timestamp"), "timestamp")
        instrument = self._instrument(row)
        return instrument.exchange, TradeUpdate(
            instrument.raw_symbol,
            self._required(self._amount(row, "price"), "price"),
            self._required(self._amount(row, "quantity"), "quantity"),
            local_ns,
            self._time(row, "exchange_timestamp"),
            self._side(row),
            self._trade_id(row),
        )

    def column_of(self, field: str, header: Sequence[str]) -> str:
        """The name of a field's column; of one that has none, its own."""
        return header[self._places[field]] if field in self._places else field

    def _value(self, row: Sequence[Value], field: str) -> Value:
        """What stands there; None where there is no such column, or nothing in it."""
        place = self._places.get(field)
        if place is None:
            return None
        value = row[place]
        if isinstance(value, str):
            value = value.strip()
        return None if value == "" else value

    def _required(self, value: Any, field: str) -> Any:
        if value is None:
            raise Refusal(field, "expected a value, was nothing")
        return value

    def _amount(self, row: Sequence[Value], field: str) -> float | None:
        value = self._value(row, field)
        if value is None:
            return None
        try:
            if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
                raise ValueError
            amount = float(value)
        except (TypeError, ValueError):
            raise Refusal(field, "expected a number") from None
        if not 0 <= amount <= AMOUNT_MAX:
            raise Refusal(field, f"expected a number from 0 to {AMOUNT_MAX:g}")
        return amount

    def _time(self, row: Sequence[Value], field: str) -> int | None:
        value = self._value(row, field)
        if value is None:
            return None
        column = self._mapping.columns.get(field)
        unit = column.unit if column else None
        timestamp_ns = value if unit == "arrow" else read_time(value, unit, field)
        if not LOCAL_NS_MIN <= timestamp_ns <= LOCAL_NS_MAX:
            raise Refusal(field, f"expected a time from 2000 to 2200 in {unit or 'ns'}{_hint(value)}")
        return int(timestamp_ns)

    def _side(self, row: Sequence[Value]) -> Literal["buy", "sell"] | None:
        value = self._value(row, "aggressor_side")
        if value is not None:
            side = SIDES.get(str(value).lower())
            if side is None:
                raise Refusal("aggressor_side", "expected buy or sell")
            return side
        value = self._value(row, "is_buyer_maker")
        if value is None:
            return None
        is_buyer_maker = TRUTHS.get(str(value).lower())
        if is_buyer_maker is None:
            raise Refusal("is_buyer_maker", "expected true or false")
        return "sell" if is_buyer_maker else "buy"

    def _trade_id(self, row: Sequence[Value]) -> str | None:
        value = self._value(row, "trade_id")
        if value is None:
            return None
        if len(str(value)) > TRADE_ID_CHARACTERS_MAX:
            raise Refusal("trade_id", f"expected up to {TRADE_ID_CHARACTERS_MAX} characters")
        return str(value)

    def _instrument(self, row: Sequence[Value]) -> Instrument:
        exchange = self._value(row, "exchange") or self._mapping.exchange
        symbol = self._value(row, "symbol") or self._mapping.symbol
        return self._find(str(self._required(exchange, "exchange")), str(self._required(symbol, "symbol")))

    def _find_instrument(self, exchange: str, symbol: str) -> Instrument:
        return find_instrument(self._instruments, exchange, symbol)


def find_instrument(instruments: InstrumentTable, exchange: str, symbol: str) -> Instrument:
    """The instrument of a unified or raw symbol.

    Raises:
        ConfigError: It is not in the table; the message says what to add.
    """
    for instrument in instruments.of_exchange(exchange):
        if symbol in {instrument.symbol, instrument.raw_symbol}:
            return instrument
    known = ", ".join(entry.name for entry in instruments) or "none"
    raise ConfigError(
        f"instrument {exchange}.{symbol}: not in the table (there: {known}); add [[instruments]] to the config, or "
        f"--instrument exchange={exchange},symbol={symbol},raw_symbol=RAW,tick_size=0.01,lot_size=0.00001"
    )


def parse_instrument(text: str) -> Instrument:
    """Read `exchange=..,symbol=..,raw_symbol=..,tick_size=..,lot_size=..`; keys as of the table `[[instruments]]`.

    Raises:
        ConfigError: It has another form.
    """
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return msgspec.convert({key.strip(): value.strip() for key, _, value in pairs}, Instrument, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"--instrument {text!r}: expected exchange=..,symbol=..,raw_symbol=..,tick_size=..,lot_size=..; {error}"
        ) from error


def read_time(value: Value, unit: str | None, field: str) -> int:
    """A time in ns since 1970 UTC: a number in its unit, ns where none was said, or ISO 8601, UTC without an offset.

    Raises:
        Refusal: It is none.
    """
    is_text = isinstance(value, str)
    if isinstance(value, int) or (is_text and _find_integer(value)):
        return int(value) * UNITS_NS.get(unit or "ns", 1)
    if unit not in {None, "iso"} or not is_text:
        try:
            # Exact: a float of seconds has its shortest spelling, which is what was meant.
            number = value if isinstance(value, Decimal) else Decimal(value if is_text else repr(value))
            return int(number * UNITS_NS[unit or "ns"])
        except (InvalidOperation, ValueError, OverflowError, KeyError):
            raise Refusal(field, f"expected a time in {unit or 'ns'}") from None
    return _read_iso(value, field)


def _read_iso(text: str, field: str) -> int:
    match = _find_fraction(text)
    whole, fraction = (match[1] + match[3], match[2]) if match else (text, "")
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise Refusal(field, "expected a time, a number or such as 2024-08-09T00:00:00.123Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_S + int(fraction[:9].ljust(9, "0"))


def _hint(value: Value) -> str:
    """The unit in which a number would be a time of these years."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return ""
    fitting = [unit for unit, factor in UNITS_NS.items() if LOCAL_NS_MIN <= number * factor <= LOCAL_NS_MAX]
    return f"; it would be one in {fitting[0]}: name the column with :{fitting[0]}" if fitting else ""
