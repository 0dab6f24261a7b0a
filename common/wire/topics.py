"""Topics and the patterns that select them.

A topic is `{kind}.{exchange}.{symbol}`; the symbol is the rest and may contain dots. In a pattern `*` matches within
one part, and `*` alone matches everything.
"""

import re

from common.errors import InvalidValueError

TOPIC_BYTES_MAX = 160
SEPARATOR = b"\0"

_TOPIC = re.compile(rb"[a-z][a-z0-9_]{0,63}\.[a-z][a-z0-9_]{0,63}\.[!-~]{1,64}")


def is_topic(topic: bytes) -> bool:
    """Tell whether the bytes before a frame's NUL form a topic."""
    return len(topic) <= TOPIC_BYTES_MAX and _TOPIC.fullmatch(topic) is not None


class TopicPattern:
    """A subscription: the prefix that ZeroMQ filters by, and the test for the rest."""

    def __init__(self, pattern: str) -> None:
        """Read a pattern such as `tick.*.*`, `order_*.binance.*`, `tick.binance.BTC/USDT` or `*`.

        Raises:
            InvalidValueError: It has fewer than three parts or a character that no topic has.
        """
        self.text = pattern
        if pattern == "*":
            self.prefix, self._regex = b"", re.compile(rb".*", re.DOTALL)
            return
        parts = pattern.split(".", 2)
        if len(parts) != 3 or not all(parts) or not is_topic(_with_stars_filled(pattern)):
            raise InvalidValueError(
                f"topic pattern: expected kind.exchange.symbol with * in any part, or * alone, was {pattern!r}"
            )
        literal, star, _ = pattern.partition("*")
        # The NUL belongs to an exact topic: BTC/USD must not receive BTC/USDT.
        self.prefix = literal.encode() if star else literal.encode() + SEPARATOR
        wild = (rb"[^.]*", rb"[^.]*", rb".*")
        self._regex = re.compile(
            rb"\.".join(_part_regex(part, star) for part, star in zip(parts, wild, strict=True)), re.DOTALL
        )

    def matches(self, topic: bytes) -> bool:
        """Tell whether a topic, without its NUL, is selected."""
        return self._regex.fullmatch(topic) is not None

    def __repr__(self) -> str:
        return f"TopicPattern({self.text!r})"


def _with_stars_filled(pattern: str) -> bytes:
    return pattern.replace("*", "x").encode(errors="surrogatepass")


def _part_regex(part: str, star: bytes) -> bytes:
    return star.join(re.escape(piece.encode()) for piece in part.split("*"))
