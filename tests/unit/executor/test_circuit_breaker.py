"""The circuit between executor and exchange gateway: when it opens, how long, and what closes it."""

from common.clock import NS_PER_MS
from common.events.base import DRAFT, Message
from common.events.risk import AlarmRaised, CircuitState, Severity
from common.events.system import BreakerClosed, BreakerOpened
from executor.circuit_breaker import CircuitBreaker
from executor.config import CircuitConfig

CONFIG = CircuitConfig(failures_max=3, pause_ms=100, pause_ms_max=350)


class Bench:
    """A breaker, and what it told."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.breaker = CircuitBreaker(CONFIG, self.told.append)

    @property
    def alarms(self) -> list[AlarmRaised]:
        """What it told the people on call."""
        return [message for message in self.told if isinstance(message, AlarmRaised)]

    @property
    def codes(self) -> list[str]:
        """The codes of its alarms so far."""
        return [alarm.code for alarm in self.alarms]

    def open(self) -> None:
        """Let three requests in a row have no answer, the last at 0 ms."""
        for _ in range(CONFIG.failures_max):
            self.breaker.on_unanswered(0)

    def may_send(self, ms: int) -> bool:
        """Ask at a time."""
        return self.breaker.may_send(ms * NS_PER_MS)


def test_closed_circuit_lets_everything_through() -> None:
    """Normal days cost nothing."""
    bench = Bench()

    assert bench.breaker.state is CircuitState.CLOSED
    assert [bench.may_send(0) for _ in range(3)] == [True] * 3
    assert bench.breaker.next_change_ns() is None
    assert bench.alarms == []


def test_circuit_opens_after_so_many_silences_in_a_row() -> None:
    """Not one earlier; the alarm is critical and says how many."""
    bench = Bench()
    bench.breaker.on_unanswered(0)
    bench.breaker.on_unanswered(0)
    assert bench.breaker.state is CircuitState.CLOSED

    bench.breaker.on_unanswered(0)

    assert bench.breaker.state is CircuitState.OPEN
    [alarm] = bench.alarms
    assert (alarm.code, alarm.severity, alarm.subject) == ("CIRCUIT_OPEN", Severity.CRITICAL, "exchange")
    assert alarm.detail == "3 requests in a row had no answer; next try in 100 ms"


def test_answer_in_between_makes_the_count_begin_anew() -> None:
    """Only silences in a row are an outage."""
    bench = Bench()

    for _ in range(5):
        bench.breaker.on_unanswered(0)
        bench.breaker.on_unanswered(0)
        bench.breaker.on_answer(0)

    assert bench.breaker.state is CircuitState.CLOSED


def test_open_circuit_lets_nothing_through_until_its_pause_is_over() -> None:
    """Then exactly one probe."""
    bench = Bench()
    bench.open()

    assert bench.breaker.next_change_ns() == 100 * NS_PER_MS
    assert [bench.may_send(ms) for ms in (0, 50, 99)] == [False] * 3
    assert bench.breaker.state is CircuitState.OPEN
    assert [bench.may_send(ms) for ms in (100, 100, 5_000)] == [True, False, False]
    assert bench.breaker.state is CircuitState.HALF_OPEN
    assert bench.breaker.next_change_ns() is None
    assert bench.codes == ["CIRCUIT_OPEN", "CIRCUIT_HALF_OPEN"]


def test_answer_to_the_probe_closes_the_circuit() -> None:
    """And everything flows again."""
    bench = Bench()
    bench.open()
    bench.may_send(100)

    bench.breaker.on_answer(110 * NS_PER_MS)

    assert bench.breaker.state is CircuitState.CLOSED
    assert [bench.may_send(110) for _ in range(2)] == [True, True]
    assert bench.codes == ["CIRCUIT_OPEN", "CIRCUIT_HALF_OPEN", "CIRCUIT_CLOSED"]
    assert bench.alarms[-1].severity is Severity.INFO
    assert bench.alarms[-1].timestamp_ns == 110 * NS_PER_MS


def test_silence_of_the_probe_opens_it_for_twice_as_long_up_to_the_longest_pause() -> None:
    """100, 200, 350, 350 ms."""
    bench = Bench()
    bench.open()

    pauses_ms, now_ms = [], 0
    for _ in range(4):
        opens_ns = bench.breaker.next_change_ns()
        assert opens_ns is not None
        pauses_ms.append(opens_ns // NS_PER_MS - now_ms)
        now_ms = opens_ns // NS_PER_MS
        assert bench.may_send(now_ms)
        bench.breaker.on_unanswered(now_ms * NS_PER_MS)
        assert bench.breaker.state is CircuitState.OPEN

    assert pauses_ms == [100, 200, 350, 350]


def test_closed_again_it_needs_as_many_silences_and_begins_with_the_short_pause() -> None:
    """What was before the answer is forgotten."""
    bench = Bench()
    bench.open()
    bench.may_send(100)
    bench.breaker.on_unanswered(0)
    bench.may_send(200)
    bench.breaker.on_answer(0)

    bench.breaker.on_unanswered(0)
    bench.breaker.on_unanswered(0)
    assert bench.breaker.state is CircuitState.CLOSED
    bench.breaker.on_unanswered(0)

    assert bench.breaker.next_change_ns() == 100 * NS_PER_MS


def test_probe_that_never_left_is_given_back() -> None:
    """Its signal had expired in the queue; without this nobody would ever probe again."""
    bench = Bench()
    bench.open()
    assert bench.may_send(100)

    bench.breaker.on_unsent()

    assert bench.breaker.state is CircuitState.HALF_OPEN
    assert [bench.may_send(100), bench.may_send(100)] == [True, False]


def test_word_from_before_changes_nothing_while_open() -> None:
    """Neither a late answer nor another silence is the probe's outcome."""
    bench = Bench()
    bench.open()

    bench.breaker.on_answer(10)
    bench.breaker.on_unanswered(10)

    assert bench.breaker.state is CircuitState.OPEN
    assert bench.breaker.next_change_ns() == 100 * NS_PER_MS
    assert bench.codes == ["CIRCUIT_OPEN"]


def test_opening_and_closing_are_events_for_programs() -> None:
    """Who is left alone, for how long and after how many failures; a probe changes neither."""
    bench = Bench()
    bench.open()
    bench.may_send(100)

    bench.breaker.on_answer(110 * NS_PER_MS)

    pause_ns = 100 * NS_PER_MS
    assert [message for message in bench.told if not isinstance(message, AlarmRaised)] == [
        BreakerOpened(**DRAFT, timestamp_ns=0, owner="executor", peer="exchange", failures=3, pause_ns=pause_ns),
        BreakerClosed(**DRAFT, timestamp_ns=110 * NS_PER_MS, owner="executor", peer="exchange"),
    ]
