"""What is sent again, when, and in which order; nothing is ever given up."""

import pytest
from support.executor_builders import make_cancel_request, make_signal

from common.clock import NS_PER_MS
from common.errors import InvalidValueError
from strategy.outbox import Outbox, OutboxFullError, id_of

START_NS = 1_700_000_000_000_000_000


def make_outbox(*, resend_ms: int = 100, resend_ms_max: int = 500, signals_max: int = 10) -> Outbox:
    """An empty outbox."""
    return Outbox(resend_ms=resend_ms, resend_ms_max=resend_ms_max, signals_max=signals_max)


def due_at(outbox: Outbox, ms: int) -> list[str]:
    """Ids of what is due, so many ms after the start."""
    return [id_of(instruction) for instruction in outbox.due(START_NS + ms * NS_PER_MS)]


def send_times_ms(outbox: Outbox, until_ms: int) -> list[int]:
    """The ms at which anything was due."""
    return [ms for ms in range(until_ms + 1) if due_at(outbox, ms)]


def test_pauses_double_up_to_the_maximum() -> None:
    """A dead executor is not flooded, and a restarted one does not wait long."""
    outbox = make_outbox(resend_ms=100, resend_ms_max=500)
    outbox.add(make_signal(), START_NS)

    times_ms = send_times_ms(outbox, 2_000)

    assert times_ms == [0, 100, 300, 700, 1_200, 1_700]
    assert outbox.resent == 5


@pytest.mark.parametrize(("resend_ms", "resend_ms_max"), [(200, 200), (300, 200)])
def test_maximum_holds_for_the_first_pause_too(resend_ms: int, resend_ms_max: int) -> None:
    """Every send but the first is a repeat, whether the pause can grow or not."""
    outbox = make_outbox(resend_ms=resend_ms, resend_ms_max=resend_ms_max)
    outbox.add(make_signal(), START_NS)

    times_ms = send_times_ms(outbox, 700)

    assert times_ms == [0, 200, 400, 600]
    assert outbox.resent == 3


def test_signals_are_sent_in_the_order_of_their_emission() -> None:
    """Repeats too, although the later one is due as well."""
    outbox = make_outbox()
    outbox.add(make_signal("s-1"), START_NS)
    outbox.add(make_signal("s-2"), START_NS)
    outbox.add(make_signal("s-3"), START_NS)

    sent = [due_at(outbox, 0), due_at(outbox, 100)]

    assert sent == [["s-1", "s-2", "s-3"]] * 2


def test_signal_that_is_added_later_does_not_wait_for_the_others() -> None:
    """It is due at once; each signal has pauses of its own."""
    outbox = make_outbox()
    outbox.add(make_signal("s-1"), START_NS)
    due_at(outbox, 0)

    outbox.add(make_signal("s-2"), START_NS + 50 * NS_PER_MS)

    assert [due_at(outbox, ms) for ms in (50, 99, 100, 150)] == [["s-2"], [], ["s-1"], ["s-2"]]


def test_full_outbox_refuses_a_signal_and_keeps_the_others() -> None:
    """The strategy must know at once that its decision was not taken."""
    outbox = make_outbox(signals_max=2)
    outbox.add(make_signal("s-1"), START_NS)
    outbox.add(make_signal("s-2"), START_NS)

    with pytest.raises(OutboxFullError, match=r"expected fewer than 2 unacknowledged .*; is the executor running"):
        outbox.add(make_signal("s-3"), START_NS)

    assert (len(outbox), due_at(outbox, 0)) == (2, ["s-1", "s-2"])


def test_acknowledged_signal_makes_room_and_is_not_sent_again() -> None:
    """The outbox gives it back once; a repeated acknowledgement finds nothing."""
    outbox = make_outbox(signals_max=1)
    signal = make_signal("s-1")
    outbox.add(signal, START_NS)

    found = [outbox.acknowledge("s-1"), outbox.acknowledge("s-1"), outbox.acknowledge("s-9")]
    outbox.add(make_signal("s-2"), START_NS)

    assert found == [signal, None, None]
    assert due_at(outbox, 0) == ["s-2"]


def test_what_is_hastened_is_due_at_once_and_once() -> None:
    """A new executor has seen none of it; what has ended meanwhile is left out, and the pauses go on growing."""
    outbox = make_outbox(resend_ms=100, resend_ms_max=500)
    for signal_id in ("s-1", "s-2", "s-3"):
        outbox.add(make_signal(signal_id), START_NS)
    due_at(outbox, 0)
    outbox.acknowledge("s-2")

    outbox.hasten()

    assert [due_at(outbox, ms) for ms in (10, 100, 209, 210)] == [["s-1", "s-3"], [], [], ["s-1", "s-3"]]


def test_expired_signal_is_sent_on_until_it_is_acknowledged() -> None:
    """Only the executor can say that it was never placed: without that word it would have no end on record."""
    outbox = make_outbox(resend_ms=100, resend_ms_max=500)
    outbox.add(make_signal("s-1", expires_ns=START_NS), START_NS)

    times_ms = send_times_ms(outbox, 60_000)
    outbox.acknowledge("s-1")

    assert times_ms[-1] == 59_700
    assert due_at(outbox, 120_000) == []


def test_instructions_of_an_earlier_life_go_out_before_anything_new() -> None:
    """However many they are: they were counted when they were emitted."""
    outbox = make_outbox(signals_max=3)

    outbox.restore([make_signal("s-1"), make_signal("s-2")])
    outbox.add(make_signal("s-3"), START_NS)
    sent = due_at(outbox, 0)
    outbox.restore([make_signal("s-4")])

    assert sent == ["s-1", "s-2", "s-3"]
    assert len(outbox) == 4


def test_cancel_that_nobody_acknowledges_cannot_be_kept() -> None:
    """Without a request id it would be sent for ever."""
    outbox = make_outbox()

    with pytest.raises(InvalidValueError, match="cancel of s-1: expected a request id"):
        outbox.add(make_cancel_request("s-1"), START_NS)


def test_outbox_knows_the_signals_and_cancels_that_wait() -> None:
    """Until each has its end."""
    outbox = make_outbox()
    signal = make_signal("s-1")
    outbox.add(signal, START_NS)
    outbox.add(make_cancel_request("s-1", request_id="c-2"), START_NS)

    found = [outbox.find_signal(which) for which in ("s-1", "c-2", "s-9")]
    before = [outbox.is_cancelling(which) for which in ("s-1", "c-2")]
    outbox.acknowledge("c-2")

    assert found == [signal, None, None]
    assert before == [True, False]
    assert not outbox.is_cancelling("s-1")
