"""Finds handlers that hang, and those that hold the whole loop; and says whose fault it is.

A handler that waits too long is cancelled. One that goes on although cancelled is left alone, and its subscription goes
on without it. One that holds the loop cannot be ended from outside: a thread names it, with the line it is at, and once
it returns it counts as a timeout, so that the breaker keeps it from being called again and again.
"""

import asyncio
import sys
import threading
import traceback
from collections.abc import Mapping

from common.bus.runner import Runner
from common.bus.subscription import Subscription
from common.clock import NS_PER_MS, NS_PER_S, Clock
from common.log import SteadyLog

CHECKS_PER_TIMEOUT = 8
CHECK_NS_MAX = 250 * NS_PER_MS
TASK_PREFIX = "bus:"


class Watch:
    """Looks at all subscriptions a few times within each handler timeout."""

    def __init__(
        self, subscriptions: Mapping[str, Subscription], *, blocked_ms_max: int, clock: Clock, log: SteadyLog
    ) -> None:
        self.blocked_count = 0
        self._subscriptions = subscriptions
        self._blocked_ns = blocked_ms_max * NS_PER_MS
        self._now_ns = clock.monotonic_ns
        self._log = log
        self._seen: dict[Runner, tuple[object, int, int]] = {}  # the event in hand, which call of it, since when
        self._turned_ns = 0
        self._time_ns = 0  # in which the loop turned: what one handler blocks is no other one's fault
        self._stop = threading.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        loop = asyncio.get_running_loop()
        self._turned_ns = self._now_ns()
        self._task = loop.create_task(self._look_at_all(), name="bus-watch")
        self._thread = threading.Thread(
            target=self._look_at_loop, args=(loop, threading.get_ident()), name="bus-watch", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """End."""
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._thread is not None:
            self._thread.join()

    async def _look_at_all(self) -> None:
        interval_ns = CHECK_NS_MAX
        while True:
            now_ns = self._now_ns()
            self._time_ns += min(now_ns - self._turned_ns, 2 * interval_ns)
            self._turned_ns = now_ns
            interval_ns = CHECK_NS_MAX
            for subscription in list(self._subscriptions.values()):
                interval_ns = min(interval_ns, subscription.config.handler_timeout_ms * NS_PER_MS // CHECKS_PER_TIMEOUT)
                for lane in subscription.lanes.lanes:
                    lane.look(now_ns)
                if subscription.runner is not None:
                    self._look_at(subscription, subscription.runner)
            runners = {subscription.runner for subscription in self._subscriptions.values()}
            self._seen = {runner: seen for runner, seen in self._seen.items() if runner in runners}
            await asyncio.sleep(interval_ns / NS_PER_S)

    def _look_at(self, subscription: Subscription, runner: Runner) -> None:
        timeout_ns = subscription.config.handler_timeout_ms * NS_PER_MS
        event, calls, since_ns = self._seen.get(runner, (None, -1, 0))
        if not runner.is_calling or runner.event is None or event is not runner.event or calls != runner.calls:
            self._seen[runner] = (runner.event if runner.is_calling else None, runner.calls, self._time_ns)
        elif self._time_ns - since_ns >= 2 * timeout_ns:
            subscription.give_up()
        elif self._time_ns - since_ns >= timeout_ns:
            runner.cancel()

    def _look_at_loop(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        told_ns = 0
        while not self._stop.wait(self._blocked_ns / 4 / NS_PER_S):
            turned_ns = self._turned_ns
            if self._now_ns() - turned_ns < self._blocked_ns + CHECK_NS_MAX or turned_ns == told_ns:
                continue
            told_ns = turned_ns
            task = asyncio.current_task(loop)
            name = "-" if task is None else task.get_name().removeprefix(TASK_PREFIX)
            frame = sys._current_frames().get(thread_id)  # noqa: SLF001  # how to see another thread's stack
            place = "-" if frame is None else traceback.format_list(traceback.extract_stack(frame)[-1:])[0].strip()
            self.blocked_count += 1
            subscription = self._subscriptions.get(name)
            if subscription is not None and subscription.runner is not None:
                subscription.runner.is_blocking = True
            self._log.error("loop_blocked", handler=name, at=place)
