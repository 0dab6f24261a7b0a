"""The answering end of the control channel, in a thread: it notes what it was asked, and answers as it was told."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from common.config import Config
from common.events.base import DRAFT, Message
from common.events.risk import CircuitState, ControlAnswered, ControlRequested, ScopeState, TradingState
from common.sockets.factory import Sockets
from common.sockets.transfer import Waiter, answer, take_request
from common.wire import codec

NOW_NS = 1_700_000_000_000_000_000


def make_scope(scope: str = "all", state: str = "active", **changes: Any) -> ScopeState:
    """The kill switch of one scope; moved by bob unless it is active."""
    fields: dict[str, Any] = {"by": "", "reason": "", "since_ns": 0}
    if state != "active":
        fields = {"by": "bob", "reason": "prices look odd", "since_ns": NOW_NS}
    return ScopeState(scope=scope, state=TradingState(state), **{**fields, **changes})


def make_answer(request: ControlRequested, **changes: Any) -> ControlAnswered:
    """Done; everybody trades, three orders are open."""
    fields: dict[str, Any] = {
        "timestamp_ns": NOW_NS,
        "request_id": request.request_id,
        "is_done": True,
        "scopes": [make_scope()],
        "circuit": CircuitState.CLOSED,
        "orders_working": 3,
    }
    return ControlAnswered(**{**DRAFT, "source": "executor", **fields, **changes})


class FakeExecutor:
    """Use it as `with FakeExecutor(config) as executor`; `respond` may be replaced before a command is run."""

    def __init__(self, config: Config, respond: Callable[[ControlRequested], Message] = make_answer) -> None:
        self.requests: list[ControlRequested] = []
        self._respond = respond
        self._config = config
        self._is_over = threading.Event()
        self._is_bound = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_bound.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        with Sockets(self._config.settings().sockets) as sockets:
            socket = sockets.bind_router(self._config.endpoint("control"))
            self._is_bound.set()
            waiter = Waiter(socket)
            while not self._is_over.is_set():
                waiter.wait(10)
                taken = take_request(socket)
                if taken is not None:
                    envelope, frame = taken
                    request = codec.decode(frame)
                    assert isinstance(request, ControlRequested)
                    self.requests.append(request)
                    answer(socket, envelope, codec.encode(self._respond(request)))
