"""The course of an equity, in as many points as a picture needs. Pure."""

from decimal import Decimal

import msgspec

POINTS_MAX = 1_000


class Curve(msgspec.Struct, kw_only=True):
    """Times (ns UTC) and values; when full every second point goes, and from then on half as many are taken."""

    times_ns: list[int] = []
    values: list[Decimal] = []
    interval_ns: int = 0

    def add(self, timestamp_ns: int, value: Decimal, *, is_last: bool = False) -> None:
        """Take a point, unless it is too near to the one before; the last one always."""
        is_near = bool(self.times_ns) and timestamp_ns - self.times_ns[-1] < self.interval_ns
        if is_near and not is_last:
            return
        self.times_ns.append(timestamp_ns)
        self.values.append(value)
        if len(self.times_ns) >= POINTS_MAX:
            self.times_ns, self.values = self.times_ns[::2], self.values[::2]
            self.interval_ns = max((self.times_ns[-1] - self.times_ns[0]) // (POINTS_MAX // 2), 1)
