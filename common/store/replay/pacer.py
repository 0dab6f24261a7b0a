"""When an event of the log is due in a replay. Pure.

All is reckoned from one anchor, a place in the log and the time when the replay was there, in exact arithmetic: nothing
adds up, so nothing drifts. Who sleeps until `due_ns` is late by that sleep alone.
"""

from fractions import Fraction

from common.errors import InvalidValueError
from common.store.selection import TIME_NS_MAX, TIME_NS_MIN

SPEED_MIN, SPEED_MAX = 1e-6, 1e9


class Pacer:
    """Relates the time of the log to that of a clock that does not go back. Both in ns.

    It is told the event that waits. One that is older than an event before it is due at once: time never runs backwards
    here. While paused nothing is due but what `step` lets through, one event each.
    """

    def __init__(self, speed: float = 1.0) -> None:
        """Prepare; nothing is due before `start`.

        Args:
            speed: 1 original timing, 10 ten times as fast, 0.1 ten times as slow, 0 as fast as possible.

        Raises:
            InvalidValueError: The speed is negative, no number, or beyond what makes sense.
        """
        self.is_paused = False
        self.steps = 0
        self._speed = _checked(speed)
        self._is_started = False
        # The anchor.
        self._log_ns = self._clock_ns = 0
        self._newest_ns = TIME_NS_MIN
        self._waiting_ns: int | None = None

    @property
    def speed(self) -> float:
        """How much faster than the original; 0 as fast as possible."""
        return float(self._speed)

    def start(self, log_ns: int, clock_ns: int) -> None:
        """Begin, or go on after a seek, at a place of the log: an event of that time is due now."""
        self._is_started = True
        self.steps = 0
        self._log_ns, self._clock_ns = log_ns, clock_ns
        self._newest_ns = TIME_NS_MIN
        self._waiting_ns = None

    def begin_at(self, clock_ns: int) -> None:
        """What is due now was to be due then: to read it took a while. Only before anything was handed out."""
        self._clock_ns = max(clock_ns, self._clock_ns)

    def wait_for(self, event_ns: int | None) -> None:
        """The next event has this time; None when there is none."""
        self._waiting_ns = event_ns

    def hand_out(self, newest_ns: int, count: int) -> None:
        """So many events were handed out, the newest of this time."""
        self._newest_ns = max(newest_ns, self._newest_ns)
        if self.is_paused:
            self.steps -= count
            self._log_ns = self._newest_ns

    def due_until_ns(self, clock_ns: int) -> int:
        """Events of up to this time of the log are due by the clock; paused or not started none is."""
        if not self._is_started or self.is_paused or clock_ns < self._clock_ns:
            return TIME_NS_MIN
        if not self._speed:
            return TIME_NS_MAX
        elapsed = (clock_ns - self._clock_ns) * self._speed
        return self._log_ns + elapsed.numerator // elapsed.denominator

    def due_ns(self) -> int | None:
        """When the clock will show that the waiting event is due; None while paused, or where none waits."""
        if self._waiting_ns is None or (self.is_paused and not self.steps):
            return None
        if self.is_paused or not self._speed:
            return self._clock_ns
        offset = max(self._waiting_ns, self._newest_ns, self._log_ns) - self._log_ns
        return self._clock_ns - (-offset * self._speed.denominator // self._speed.numerator)

    def position_ns(self, clock_ns: int) -> int:
        """Where in the log the replay is: by the clock, but never beyond what is still to be handed out.

        So a handler that cannot follow holds the replay up, and a change of speed begins where it really is.
        """
        if self.is_paused or not self._is_started:
            return self._log_ns
        reached_ns = max(self._log_ns, self._newest_ns)
        if not self._speed or self._waiting_ns is None:
            return reached_ns
        return max(reached_ns, min(self.due_until_ns(clock_ns), self._waiting_ns))

    def pause(self, clock_ns: int) -> None:
        """Hold here. Safe to repeat."""
        self._anchor(clock_ns)
        self.is_paused = True

    def resume(self, clock_ns: int) -> None:
        """Go on from here. Safe to repeat."""
        self._anchor(clock_ns)
        self.is_paused = False
        self.steps = 0

    def step(self) -> None:
        """Let one event through.

        Raises:
            InvalidValueError: It is not paused.
        """
        if not self.is_paused:
            raise InvalidValueError("step: expected a replay that is paused, was one that runs; pause it first")
        self.steps += 1

    def set_speed(self, speed: float, clock_ns: int) -> None:
        """Go on from here at another speed.

        Raises:
            InvalidValueError: As when it was made; the speed stays.
        """
        checked = _checked(speed)
        self._anchor(clock_ns)
        self._speed = checked

    def _anchor(self, clock_ns: int) -> None:
        self._log_ns = self.position_ns(clock_ns)
        self._clock_ns = max(clock_ns, self._clock_ns)


def _checked(speed: float) -> Fraction:
    if not (speed == 0 or SPEED_MIN <= speed <= SPEED_MAX):
        raise InvalidValueError(
            f"speed: expected 0 for as fast as possible, or {SPEED_MIN:g} to {SPEED_MAX:g}, was {speed:g}"
        )
    return Fraction(str(speed))
