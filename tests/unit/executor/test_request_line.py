"""One request at a time, and what happens when nobody answers."""

from common.clock import NS_PER_MS
from common.events.base import DRAFT
from common.events.venue import ResendExecutions
from executor.request_line import Request, RequestLine

PAUSES_MS = [100, 200, 400, 800, 1_000, 1_000]


def make_line() -> RequestLine:
    """A second of patience, pauses of 100 ms to 1 s."""
    return RequestLine(timeout_ms=1_000, pause_ms=100, pause_ms_max=1_000)


def make_request(request_id: str = "1-1") -> Request:
    """Any request."""
    return ResendExecutions(**DRAFT, timestamp_ns=0, request_id=request_id, from_number=1)


def at(ms: int) -> int:
    """A time."""
    return ms * NS_PER_MS


def test_empty_line_has_nothing_to_send_or_to_wait_for() -> None:
    """An idle executor sleeps."""
    line = make_line()

    assert line.take_sendable(0) is None
    assert line.take_unanswered(at(10_000)) is None
    assert line.next_deadline_ns() is None
    assert len(line) == 0


def test_requests_leave_in_their_order_one_after_the_answer_to_the_other() -> None:
    """The order of requests is the order of their effects."""
    line = make_line()
    first, second = make_request("1-1"), make_request("1-2")
    line.push(first)
    line.push(second)

    assert line.take_sendable(0) is first
    assert line.take_sendable(0) is None
    assert len(line) == 2
    assert line.match("1-1") is first
    assert line.take_sendable(0) is second
    assert len(line) == 1


def test_pushed_first_leaves_before_what_waits() -> None:
    """A question about an order comes before the orders behind it."""
    line = make_line()
    line.push(make_request("1-1"))
    line.push(make_request("1-2"))

    line.push_first(make_request("1-3"))

    sendable = line.take_sendable(0)
    assert sendable is not None
    assert sendable.request_id == "1-3"


def test_answer_to_another_request_is_not_taken() -> None:
    """What is in flight stays in flight: the answer was to a question of the past."""
    line = make_line()
    request = make_request("1-2")
    line.push(request)
    line.take_sendable(0)

    assert line.match("1-1") is None
    assert line.match("1-2") is request


def test_answer_while_nothing_is_in_flight_is_not_taken() -> None:
    """A request that waits was not asked yet, so nobody can have answered it."""
    line = make_line()
    line.push(make_request("1-1"))

    assert line.match("1-1") is None
    assert len(line) == 1


def test_second_answer_to_one_request_is_not_taken() -> None:
    """The first one ended it."""
    line = make_line()
    line.push(make_request("1-1"))
    line.take_sendable(0)
    line.match("1-1")

    assert line.match("1-1") is None


def test_request_is_unanswered_at_its_deadline_and_not_before() -> None:
    """One second after it was sent."""
    line = make_line()
    request = make_request()
    line.push(request)
    line.take_sendable(at(5))

    assert line.next_deadline_ns() == at(1_005)
    assert line.take_unanswered(at(1_005) - 1) is None
    assert line.take_unanswered(at(1_005)) is request
    assert len(line) == 0


def test_answer_after_the_deadline_was_noticed_is_too_late() -> None:
    """It is being asked about already."""
    line = make_line()
    line.push(make_request())
    line.take_sendable(0)
    line.take_unanswered(at(1_000))

    assert line.match("1-1") is None


def test_silence_is_followed_by_a_pause() -> None:
    """An exchange that restarts is not hammered."""
    line = make_line()
    line.push(make_request("1-1"))
    line.push(make_request("1-2"))
    line.take_sendable(0)
    line.take_unanswered(at(1_000))

    assert line.next_deadline_ns() == at(1_100)
    assert line.take_sendable(at(1_100) - 1) is None
    assert line.take_sendable(at(1_100)) is not None


def test_pauses_double_with_each_silence_up_to_the_longest() -> None:
    """100, 200, 400, 800 ms, then a second each."""
    line = make_line()
    now_ms = 0
    for number, pause_ms in enumerate(PAUSES_MS):
        line.push(make_request(f"1-{number}"))
        assert line.take_sendable(at(now_ms)) is not None
        now_ms += 1_000
        assert line.take_unanswered(at(now_ms)) is not None

        line.push(make_request("next"))
        assert line.take_sendable(at(now_ms + pause_ms) - 1) is None
        now_ms += pause_ms


def test_answer_makes_the_next_pause_short_again() -> None:
    """The exchange is back."""
    line = make_line()
    for number, now_ms in enumerate((0, 2_000, 4_000)):
        line.push(make_request(f"1-{number}"))
        line.take_sendable(at(now_ms))
        line.take_unanswered(at(now_ms + 1_000))
    line.push(make_request("2-1"))
    line.take_sendable(at(6_000))
    line.match("2-1")

    line.push(make_request("2-2"))
    line.take_sendable(at(6_000))
    line.take_unanswered(at(7_000))

    line.push(make_request("2-3"))
    assert line.next_deadline_ns() == at(7_100)


def test_request_that_was_not_sent_after_all_makes_room_for_the_next() -> None:
    """Its signal had expired while it waited."""
    line = make_line()
    second = make_request("1-2")
    line.push(make_request("1-1"))
    line.push(second)
    line.take_sendable(0)

    line.drop_in_flight()

    assert line.take_sendable(0) is second


def test_sending_time_is_that_of_the_request_in_flight() -> None:
    """The round trip is measured from it."""
    line = make_line()
    line.push(make_request("1-1"))
    line.push(make_request("1-2"))
    line.take_sendable(at(1))
    line.match("1-1")

    line.take_sendable(at(2))

    assert line.sent_ns == at(2)
