"""The messages that a tape names are found in a log, whatever lies around them, and little of it is kept."""

from collections.abc import Iterator

import pytest
from support.engine_builders import make_position_event, make_trade
from support.message_builders import NOW_NS, make_tick

from common.clock import NS_PER_S
from common.events.base import Message
from common.store.memory import MemoryStore
from common.store.record import Record
from strategy.tape.market_log import CannotCompareError, MarketLog, survey
from strategy.tape.notes import AnyNote, MarketCall, reference_of


def make_log(*messages: Message) -> MemoryStore:
    """A log in the order of the arguments."""
    store = MemoryStore()
    store.append_batch(messages, NOW_NS)
    return store


def calls(*messages: Message) -> list[AnyNote | MarketCall]:
    """A tape on which the strategy took these."""
    return [MarketCall(NOW_NS, reference_of(message)) for message in messages]


def find_all(store: MemoryStore, *messages: Message, waiting_max: int = 1_000) -> list[Message]:
    """What the log has for each."""
    market_log = MarketLog(store, survey(calls(*messages)), waiting_max)
    return [market_log.find(reference_of(message)) for message in messages]


def test_messages_are_found_in_the_order_of_the_tape() -> None:
    """Topics arrive in another order at the recorder; what nobody asked for is passed over."""
    btc = [make_tick(seq) for seq in range(1, 6)]
    eth = [make_tick(seq, symbol="ETH/USDT") for seq in range(1, 6)]
    trades = [make_trade(seq=seq) for seq in range(1, 4)]
    store = make_log(*eth, make_position_event(), *trades, *btc)

    taken = [btc[0], eth[0], trades[0], btc[1], btc[3], eth[4], trades[2]]

    assert find_all(store, *taken) == taken


def test_two_lives_of_a_publisher_are_not_mixed_up() -> None:
    """Both have a number 1."""
    old, new = make_tick(1, bid=90.0), make_tick(1, epoch=make_tick(1).epoch + 1)

    assert find_all(make_log(old, new), new, old) == [new, old]


def test_message_that_is_not_there_is_named() -> None:
    """The log ends before it."""
    with pytest.raises(
        CannotCompareError, match=r"expected tick\.simulated\.BTC/USDT of gateway, .* number 2, was not"
    ):
        find_all(make_log(make_tick(1), make_tick(3)), make_tick(1), make_tick(2))


def test_search_for_a_missing_message_has_an_end() -> None:
    """Whatever comes behind it is kept, up to a bound."""
    ticks = [make_tick(seq) for seq in range(1, 100)]

    with pytest.raises(CannotCompareError, match=r"number 2, was not among 21 near it"):
        find_all(make_log(ticks[0], *ticks[2:]), *ticks, waiting_max=20)


def test_messages_that_the_strategy_lost_are_let_go() -> None:
    """It took each tenth: the others do not pile up."""
    ticks = [make_tick(seq) for seq in range(1, 2_001)]

    assert find_all(make_log(*ticks), *ticks[::10], waiting_max=20) == ticks[::10]


def test_what_is_outside_of_the_tape_is_not_kept() -> None:
    """Before its first and after its last number, and of topics that it does not have."""
    before = [make_tick(seq) for seq in range(1, 500)]
    other = [make_tick(seq, symbol="ETH/USDT") for seq in range(1, 500)]
    wanted, trade = make_tick(500), make_trade(seq=1)

    assert find_all(make_log(*before, *other, wanted, trade), trade, wanted, waiting_max=5) == [trade, wanted]


def test_reading_begins_near_the_session() -> None:
    """A log of years is not read from its beginning."""
    old = [make_tick(seq, timestamp_ns=NOW_NS - 3_600 * NS_PER_S) for seq in range(1, 100)]
    store = CountingStore()
    store.append_batch([*old, make_tick(100)], NOW_NS)

    assert find_all(store, make_tick(100)) == [make_tick(100)]
    assert store.first_ids == [100]


class CountingStore(MemoryStore):
    """Notes from where it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.first_ids: list[int] = []

    def get_events(self, from_id: int = 1) -> Iterator[Record]:
        self.first_ids.append(from_id)
        return super().get_events(from_id)


def test_message_of_long_before_the_session_is_found() -> None:
    """A quiet instrument's last tick, given to a strategy that began an hour later; what was found stays found."""
    old = make_tick(1, symbol="ETH/USDT", timestamp_ns=NOW_NS - 3_600 * NS_PER_S)
    ticks = [make_tick(seq) for seq in range(1, 10)]

    assert find_all(make_log(old, *ticks), *ticks[:5], old, *ticks[5:], waiting_max=6) == [*ticks[:5], old, *ticks[5:]]


def test_empty_log_misses_the_first_message() -> None:
    """It may be the wrong one."""
    with pytest.raises(CannotCompareError, match="number 1, was not there"):
        find_all(make_log(), make_tick(1))
