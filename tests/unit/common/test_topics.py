import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidValueError
from common.wire.topics import TOPIC_BYTES_MAX, TopicPattern, is_topic

PARTS = ["tick", "trade", "order_filled", "order_accepted", "binance", "simulated", "a", "a_b", "x9"]
SYMBOLS = ["BTC/USDT", "BTC/USD", "BTC/USDT:USDT", "BRK.B", "B", "tick.simulated.B", "[A]", "A+B", "(x)|y", "\\d"]
topics = st.builds(lambda *parts: ".".join(parts), *map(st.sampled_from, (PARTS, PARTS, SYMBOLS)))


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """A topic with pieces of its parts replaced by stars; or a lone star."""
    if draw(st.integers(0, 9)) == 0:
        return "*"
    parts = draw(topics).split(".", 2)
    for index, part in enumerate(parts):
        if draw(st.booleans()):
            start = draw(st.integers(0, len(part)))
            parts[index] = part[:start] + "*" + part[draw(st.integers(start, len(part))) :]
    return ".".join(parts)


@given(patterns(), topics)
def test_prefix_never_excludes_a_topic_that_matches(pattern: str, topic: str) -> None:
    """ZeroMQ filters by prefix first: what it drops is gone before the pattern is asked."""
    subscription = TopicPattern(pattern)

    frame = f"{topic}\0body".encode()
    assert frame.startswith(subscription.prefix) or not subscription.matches(topic.encode())


@given(topics)
def test_topic_is_a_pattern_that_matches_itself_only(topic: str) -> None:
    """Characters that mean something to a regular expression mean themselves here."""
    exact = TopicPattern(topic)

    assert exact.matches(topic.encode())
    assert not exact.matches(f"{topic}x".encode())
    assert not exact.matches(f"x{topic}".encode())


def test_exact_topic_never_receives_a_longer_one() -> None:
    """BTC/USD is a prefix of BTC/USDT; the NUL behind the topic tells them apart."""
    dollar = TopicPattern("tick.binance.BTC/USD")

    assert dollar.prefix == b"tick.binance.BTC/USD\0"
    assert not b"tick.binance.BTC/USDT\0body".startswith(dollar.prefix)
    assert not dollar.matches(b"tick.binance.BTC/USDT")


@pytest.mark.parametrize(
    ("pattern", "prefix", "matching", "foreign"),
    [
        ("*", b"", ["tick.binance.BTC/USDT", "process.gateway.gateway"], []),
        ("tick.*.*", b"tick.", ["tick.binance.BTC/USDT", "tick.b.BRK.B"], ["ticks.b.X", "trade.b.X"]),
        (
            "order_*.binance.*",
            b"order_",
            ["order_filled.binance.X", "order_accepted.binance.X"],
            ["order_filled.kraken.X", "position_opened.binance.X"],
        ),
        ("*.binance.BTC/USDT", b"", ["tick.binance.BTC/USDT"], ["tick.binance.BTC/USD", "tick.kraken.BTC/USDT"]),
        ("tick.b*e.BTC*", b"tick.b", ["tick.binance.BTC/USDT", "tick.be.BTC"], ["tick.binance.ETH/BTC"]),
        ("tick.binance.*/USDT", b"tick.binance.", ["tick.binance.BTC/USDT"], ["tick.binance.BTC/USDT:USDT"]),
    ],
)
def test_star_matches_within_its_part(pattern: str, prefix: bytes, matching: list[str], foreign: list[str]) -> None:
    """The longest literal beginning goes to ZeroMQ, the rest is filtered on receipt."""
    subscription = TopicPattern(pattern)

    assert subscription.prefix == prefix
    assert [topic for topic in matching if not subscription.matches(topic.encode())] == []
    assert [topic for topic in foreign if subscription.matches(topic.encode())] == []


def test_star_stays_inside_kind_and_exchange_but_a_symbol_may_have_dots() -> None:
    """The symbol is the rest."""
    assert not TopicPattern("tick.*.B").matches(b"tick.a.x.B")
    assert TopicPattern("tick.a.*").matches(b"tick.a.x.B")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "tick",
        "tick.*",
        "tick..*",
        ".a.b",
        "tick.binance.",
        "Tick.*.*",
        "1*.a.b",
        "tick.*.B C",
        "tick.*.\u20bf",
        "**",
    ],
)
def test_pattern_that_can_match_no_topic_is_refused(pattern: str) -> None:
    """A misspelt subscription would be silence, not an error."""
    with pytest.raises(InvalidValueError, match=r"topic pattern: expected kind\.exchange\.symbol"):
        TopicPattern(pattern)


def test_pattern_shows_itself_in_a_log() -> None:
    """As it was written."""
    assert repr(TopicPattern("tick.*.*")) == "TopicPattern('tick.*.*')"


@pytest.mark.parametrize(
    "topic", [b"tick.binance.BTC/USDT", b"order_filled.simulated.ETH/USDT", b"a.b.c", b"t.b.BRK.B", b"t.b.~!#"]
)
def test_three_parts_are_a_topic(topic: bytes) -> None:
    """Kind and exchange are lower-case words, the symbol is any printable ASCII."""
    assert is_topic(topic)


@pytest.mark.parametrize(
    "topic",
    [
        b"",
        b"tick",
        b"tick.binance",
        b"tick.binance.",
        b"tick..BTC",
        b"Tick.binance.BTC",
        b"tick.2b.BTC",
        b"tick.binance.BTC USD",
        b"tick.binance.BTC\n",
        b"tick.binance.\xe2\x82\xbf",
        b"tick.binance." + b"x" * 65,
        b"t" * 65 + b".b.c",
        b"t" * 64 + b"." + b"b" * 64 + b"." + b"c" * 64,
    ],
)
def test_anything_else_is_no_topic(topic: bytes) -> None:
    """Nothing of it may reach a log, a file name or a table of topics."""
    assert not is_topic(topic)


@given(topics)
def test_every_topic_is_short_enough_for_a_last_value(topic: str) -> None:
    """Snapshots carry topics in a field of the same limit."""
    assert is_topic(topic.encode())
    assert len(topic) <= TOPIC_BYTES_MAX
