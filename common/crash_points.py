"""Named places where a test may kill the process: between the steps whose order is the promise.

`TICKPULSE_CRASH=executor.journal.written:3` kills the process with SIGKILL when it passes that place for the third
time. Without the variable, which is read once at import, `crash_point` does nothing: 21 ns a call.
"""

import os
import signal
from collections.abc import Callable, Mapping

from common.errors import ConfigError

CRASH_VARIABLE = "TICKPULSE_CRASH"
# Every place there is, by process. The simulation passes the same places under the same names.
CRASH_POINTS = (
    "strategy.outbox.writing",
    "strategy.outbox.written",
    "strategy.signal.sending",
    "strategy.signal.sent",
    "executor.journal.writing",
    "executor.journal.written",
    "executor.request.sending",
    "executor.request.sent",
    "executor.event.publishing",
    "executor.event.published",
    "exchange.order.writing",
    "exchange.order.written",
    "exchange.executions.writing",
    "exchange.executions.written",
    "exchange.answer.sending",
    "exchange.answer.sent",
)


def make_crash_point(environment: Mapping[str, str], kill: Callable[[], None]) -> Callable[[str], None]:
    """What to call at each place: nothing, or the countdown to a kill.

    Args:
        environment: May name a place and a number of passages, as `NAME:K`.
        kill: Ends the process; called at passage K, counted from 1.

    Raises:
        ConfigError: There is no such place, or K is no number from 1 on.
    """
    text = environment.get(CRASH_VARIABLE)
    if text is None:
        return _pass
    wanted, _, passage = text.rpartition(":")
    if wanted not in CRASH_POINTS or not (passage.isascii() and passage.isdigit() and int(passage) > 0):
        raise ConfigError(
            f"{CRASH_VARIABLE}: expected NAME:K with K from 1 and a name of {', '.join(CRASH_POINTS)}, was {text!r}"
        )
    left = int(passage)

    def count_down(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                kill()

    return count_down


def _pass(_name: str) -> None:
    pass


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


crash_point = make_crash_point(os.environ, _kill_self)
