"""The lowest, the highest and the newest run of moves in a sliding window, each O(1) amortised for a value."""

from collections import deque
from collections.abc import Iterable


class Extremes:
    """Lowest and highest value.

    A value that a newer one undercuts (or exceeds) can never be the lowest (highest) again. So the candidates for the
    lowest rise from oldest to newest, and the first one is the answer. Each value enters once and leaves once.
    """

    __slots__ = ("_highest", "_lowest")

    def __init__(self, first_number: int, values: Iterable[float]) -> None:
        """Take what the window holds; `first_number` is the number of its oldest value."""
        self._lowest: deque[tuple[int, float]] = deque()
        self._highest: deque[tuple[int, float]] = deque()
        for number, value in enumerate(values, first_number):
            self.push(number, value)

    @property
    def lowest(self) -> float:
        """The lowest value."""
        return self._lowest[0][1]

    @property
    def highest(self) -> float:
        """The highest value."""
        return self._highest[0][1]

    def push(self, number: int, value: float) -> None:
        """Take the newest value."""
        lowest, highest = self._lowest, self._highest
        while lowest and lowest[-1][1] >= value:
            lowest.pop()
        lowest.append((number, value))
        while highest and highest[-1][1] <= value:
            highest.pop()
        highest.append((number, value))

    def evict(self, first_number: int) -> None:
        """Forget what is older than this number."""
        for candidates in (self._lowest, self._highest):
            while candidates and candidates[0][0] < first_number:
                candidates.popleft()


class Run:
    """How many moves in a row went the same way, back from the newest. An equal value is no move and ends none."""

    __slots__ = ("_direction", "_moves", "_newest")

    def __init__(self, first_number: int, values: Iterable[float]) -> None:
        """Take what the window holds; `first_number` is the number of its oldest value."""
        self._direction = 0
        self._moves: deque[int] = deque()  # the number of the later value of each move
        self._newest = 0.0
        for number, value in enumerate(values, first_number):
            self.push(number, value, first_number)

    @property
    def rising(self) -> int:
        """Rises in a row, 0 after a fall."""
        return len(self._moves) if self._direction > 0 else 0

    @property
    def falling(self) -> int:
        """Falls in a row, 0 after a rise."""
        return len(self._moves) if self._direction < 0 else 0

    def push(self, number: int, value: float, first_number: int) -> None:
        """Take the newest value; a move needs the value before it to be in the window too."""
        if number > first_number and value != self._newest:
            direction = 1 if value > self._newest else -1
            if direction != self._direction:
                self._direction = direction
                self._moves.clear()
            self._moves.append(number)
        self._newest = value

    def evict(self, first_number: int) -> None:
        """Forget moves whose earlier value has left."""
        while self._moves and self._moves[0] <= first_number:
            self._moves.popleft()
