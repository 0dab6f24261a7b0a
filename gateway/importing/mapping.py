"""Which column of a table holds what, and in which unit of time. Pure.

As options: `--map bid=best_bid --map timestamp=ts:ms`. For repeated use as a file:

    kind = "ticks"
    exchange = "binance"
    symbol = "BTC/USDT"
    [map]
    timestamp = "ts:ms"
    bid = "best_bid"
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from common.errors import ConfigError

SHOWN_CHARACTERS_MAX = 500
Kind = Literal["ticks", "trades"]
UNITS_NS: Mapping[str, int] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
UNITS = (*UNITS_NS, "iso")
TIME_FIELDS = ("timestamp", "exchange_timestamp")
_EVERYWHERE = (*TIME_FIELDS, "exchange", "symbol")
FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "ticks": (*_EVERYWHERE, "bid", "ask", "bid_size", "ask_size", "last", "volume"),
    "trades": (*_EVERYWHERE, "price", "quantity", "aggressor_side", "is_buyer_maker", "trade_id"),
}
REQUIRED: Mapping[Kind, tuple[str, ...]] = {"ticks": ("timestamp",), "trades": ("timestamp", "price", "quantity")}


class Column(NamedTuple):
    """A column by its name; of a time also the unit: s, ms, us, ns or iso; None where it was not said."""

    name: str
    unit: str | None = None


class MappingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping as people keep it."""

    kind: Kind | None = None
    exchange: str | None = None
    symbol: str | None = None
    map: dict[str, str] = {}


class TableMapping(msgspec.Struct, frozen=True, kw_only=True):
    """How the rows of a table are read. A column that nobody named has the name of its field, where there is one."""

    kind: Kind
    columns: dict[str, Column] = {}
    exchange: str | None = None  # of every row, unless a column says it
    symbol: str | None = None

    def places(self, header: Sequence[str], source: str) -> dict[str, int]:
        """Where each field is found in a row.

        Raises:
            ConfigError: A named or required column is missing, or a name stands in the header twice.
        """
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise ConfigError(f"{source}: expected each column once, there are two called {twice[0]!r}")
        places = {}
        for field in FIELDS[self.kind]:
            name = self.columns[field].name if field in self.columns else field
            if name in header:
                places[field] = header.index(name)
            elif field in self.columns or field in REQUIRED[self.kind]:
                raise ConfigError(
                    f"{source}: expected a column {name!r} for {field}, the columns are {_shown(header)}; "
                    f"name it with --map {field}=COLUMN"
                )
        self._check(places, header, source)
        return places

    def _check(self, places: Mapping[str, int], header: Sequence[str], source: str) -> None:
        for field in ("exchange", "symbol"):
            if getattr(self, field) is None and field not in places:
                raise ConfigError(f"{source}: expected the {field}; name it with --{field}, or --map {field}=COLUMN")
        if self.kind == "ticks" and not places.keys() & {"bid", "ask", "last"}:
            raise ConfigError(
                f"{source}: expected a column for bid, ask or last, the columns are {_shown(header)}; "
                "name it with --map bid=COLUMN"
            )


def make_mapping(kind: Kind, texts: Mapping[str, str], exchange: str | None, symbol: str | None) -> TableMapping:
    """Read a mapping of fields to `COLUMN` or, of times, `COLUMN:UNIT`.

    Raises:
        ConfigError: A field or a unit is unknown.
    """
    columns = {}
    for field, text in texts.items():
        if field not in FIELDS[kind]:
            nearest = difflib.get_close_matches(field, FIELDS[kind], n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(FIELDS[kind])}"
            raise ConfigError(f"--map {field}={text}: {kind} have no {field}; {hint}")
        columns[field] = _column(field, text)
    return TableMapping(kind=kind, columns=columns, exchange=exchange, symbol=symbol)


def split_options(options: Iterable[str]) -> dict[str, str]:
    """Read `FIELD=COLUMN` options.

    Raises:
        ConfigError: One has another form.
    """
    texts = {}
    for option in options:
        field, equals, column = option.partition("=")
        if not (field and equals and column):
            raise ConfigError(f"--map {option}: expected FIELD=COLUMN, such as bid=best_bid or timestamp=ts:ms")
        texts[field] = column
    return texts


def _shown(header: Sequence[str]) -> str:
    text = ", ".join(header)
    return text if text.isprintable() and len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]!r}..."


def _column(field: str, text: str) -> Column:
    if field not in TIME_FIELDS:
        return Column(text)
    name, colon, unit = text.rpartition(":")
    if not colon:
        return Column(text)
    if unit not in UNITS:
        raise ConfigError(f"--map {field}={text}: expected a unit of {', '.join(UNITS)} after the colon, was {unit!r}")
    return Column(name, unit)
