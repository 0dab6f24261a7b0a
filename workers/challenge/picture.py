"""The course of an equity as an SVG that needs nothing else; its colours are those of the page. Pure."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from common.clock import NS_PER_DAY, NS_PER_S
from workers.challenge.curve import Curve

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 76, 14, 14, 28
GRID_LINES, TIME_LABELS = 5, 5
SIGHT = 1.0  # a limit is shown when it is no further from the curve than this many times the curve's height


class Limit(NamedTuple):
    """A level that decides something, from a time on; `kind` is a class of the page's style."""

    name: str
    kind: str
    amount: Decimal
    from_ns: int


class _Scale:
    """Where times and amounts are in the picture."""

    def __init__(self, curve: Curve, limits: list[Limit]) -> None:
        low, high = float(min(curve.values)), float(max(curve.values))
        height = (high - low) or max(abs(high), 1.0) * 0.001
        self.limits = [
            limit for limit in limits if low - SIGHT * height <= float(limit.amount) <= high + SIGHT * height
        ]
        amounts = [low, high, *(float(limit.amount) for limit in self.limits)]
        pad = 0.06 * (max(amounts) - min(amounts) or height)
        self.low, self.high = min(amounts) - pad, max(amounts) + pad
        self.first_ns = curve.times_ns[0]
        self.whole_ns = max(curve.times_ns[-1] - self.first_ns, 1)

    def x(self, time_ns: int) -> float:
        """Of a time; the left edge for all before the curve."""
        share = max(time_ns - self.first_ns, 0) / self.whole_ns
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, amount: float) -> float:
        """Of an amount."""
        share = (self.high - amount) / (self.high - self.low)
        return round(TOP + share * (HEIGHT - TOP - BOTTOM), 1)


def draw(curve: Curve, limits: list[Limit]) -> str:
    """The SVG; empty while there is no course yet."""
    if len(curve.times_ns) < 2:
        return ""
    scale = _Scale(curve, limits)
    points = " ".join(
        f"{scale.x(time_ns)},{scale.y(float(value))}"
        for time_ns, value in zip(curve.times_ns, curve.values, strict=True)
    )
    end = f"cx='{scale.x(curve.times_ns[-1])}' cy='{scale.y(float(curve.values[-1]))}'"
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='Equity over time'>"
        f"{_grid(scale)}{_times(scale)}{''.join(_line(scale, limit) for limit in scale.limits)}"
        f"<polyline class='curve' points='{points}'/><circle class='end' {end} r='4'/></svg>"
    )


def _grid(scale: _Scale) -> str:
    """Level lines at round amounts."""
    rough = (scale.high - scale.low) / GRID_LINES
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    levels = [step * number for number in range(math.ceil(scale.low / step), math.floor(scale.high / step) + 1)]
    return "".join(
        f"<line class='grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{scale.y(level)}' y2='{scale.y(level)}'/>"
        f"<text class='axis' x='{LEFT - 8}' y='{scale.y(level) + 4:.1f}' text-anchor='end'>{level:,.{digits}f}</text>"
        for level in levels
    )


def _times(scale: _Scale) -> str:
    form = "%H:%M:%S" if scale.whole_ns < NS_PER_DAY else "%m-%d %H:%M"
    labels = []
    for number in range(TIME_LABELS):
        time_ns = scale.first_ns + scale.whole_ns * number // (TIME_LABELS - 1)
        anchor = "start" if number == 0 else "end" if number == TIME_LABELS - 1 else "middle"
        text = datetime.fromtimestamp(time_ns // NS_PER_S, tz=UTC).strftime(form)
        labels.append(
            f"<text class='axis' x='{scale.x(time_ns)}' y='{HEIGHT - 8}' text-anchor='{anchor}'>{text}</text>"
        )
    return "".join(labels)


def _line(scale: _Scale, limit: Limit) -> str:
    """A dashed level with its name where the curve is not: it begins at the start, and ends at what decided."""
    x, y = scale.x(limit.from_ns), scale.y(float(limit.amount))
    is_start = limit.kind == "start"
    name_x, anchor = (WIDTH - RIGHT - 6, "end") if is_start else (x + 6, "start")
    return (
        f"<line class='limit {limit.kind}' x1='{x}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}'/>"
        f"<text class='name {limit.kind}' x='{name_x}' y='{y - 5:.1f}' text-anchor='{anchor}'>{limit.name}</text>"
    )
