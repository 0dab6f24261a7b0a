"""One request at a time to the exchange: a queue, the request in flight, its deadline, and pauses after silence."""

from collections import deque

from common.clock import NS_PER_MS
from executor.requests import Request


class RequestLine:
    """Decides what to send when. Strictly one in flight: the order of requests is the order of their effects."""

    def __init__(self, *, timeout_ms: int, pause_ms: int, pause_ms_max: int) -> None:
        """Set the patience for an answer, and the pauses after none came."""
        self._timeout_ns = timeout_ms * NS_PER_MS
        self._pause_ns_first = pause_ms * NS_PER_MS
        self._pause_ns_max = pause_ms_max * NS_PER_MS
        self._queue: deque[Request] = deque()
        self._in_flight: Request | None = None
        self._deadline_ns = 0
        self._pause_ns = self._pause_ns_first
        self._not_before_ns = 0
        self.sent_ns = 0

    def __len__(self) -> int:
        """How many requests wait or are in flight."""
        return len(self._queue) + (self._in_flight is not None)

    def push(self, request: Request) -> None:
        """Ask after everything that waits."""
        self._queue.append(request)

    def push_first(self, request: Request) -> None:
        """Ask before everything that waits: what follows depends on the answer."""
        self._queue.appendleft(request)

    def has_sendable(self, now_ns: int) -> bool:
        """Tell whether a request may leave now."""
        return self._in_flight is None and bool(self._queue) and now_ns >= self._not_before_ns

    def take_sendable(self, now_ns: int) -> Request | None:
        """The request to send now, which is in flight from here on; None while one is, or during a pause."""
        if not self.has_sendable(now_ns):
            return None
        self._in_flight = self._queue.popleft()
        self._deadline_ns = now_ns + self._timeout_ns
        self.sent_ns = now_ns
        return self._in_flight

    def drop_in_flight(self) -> None:
        """The request was not sent after all."""
        self._in_flight = None

    def pause(self, now_ns: int) -> None:
        """Send nothing for a pause, which doubles each time: the exchange is overloaded, or silent."""
        self._not_before_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, self._pause_ns_max)

    def match(self, request_id: str) -> Request | None:
        """The request that an answer belongs to, which is done; None for an answer that is too late."""
        request = self._in_flight
        if request is None or request.request_id != request_id:
            return None
        self._in_flight = None
        self._pause_ns = self._pause_ns_first
        return request

    def take_unanswered(self, now_ns: int) -> Request | None:
        """The request whose time is over; nothing is sent for a pause, which doubles with each silence."""
        if self._in_flight is None or now_ns < self._deadline_ns:
            return None
        request, self._in_flight = self._in_flight, None
        self.pause(now_ns)
        return request

    def next_deadline_ns(self) -> int | None:
        """When to look again without an event; None when there is nothing to wait for."""
        if self._in_flight is not None:
            return self._deadline_ns
        return self._not_before_ns if self._queue else None
