"""Rows as people read them on a terminal: aligned columns, times in UTC."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from common.clock import NS_PER_S

Row = dict[str, Any]
Column = tuple[str, Callable[[Row], object]]


def format_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Lay rows out in aligned columns; what is absent is a dash."""
    cells = [[title for title, _ in columns]]
    cells += [["-" if (value := read(row)) is None else str(value) for _, read in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def format_time(timestamp_ns: int) -> str:
    """Date and time to the microsecond."""
    moment = datetime.fromtimestamp(timestamp_ns // NS_PER_S, tz=UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{timestamp_ns % NS_PER_S // 1000:06d}"
