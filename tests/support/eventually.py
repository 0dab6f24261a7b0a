"""Waiting for what real processes will do, without saying when."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def eventually(condition: Callable[[], T], timeout_s: float = 30.0, what: str | Callable[[], str] = "") -> T:
    """Ask again and again until the answer is true, and give it back.

    Args:
        condition: Asked every 20 ms. What it raises is the test's failure, at once.
        timeout_s: Patience, not an expectation: a busy machine may take that long.
        what: Said when time is over; a function of it tells what there was by then.

    Raises:
        AssertionError: Time is over; the message holds the last answer.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() > deadline_s:
            said = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_s:g} s: {said or condition}; the last answer was {answer!r}")
        time.sleep(POLL_S)
    return answer
