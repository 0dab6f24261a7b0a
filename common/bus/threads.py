"""A thread for one handler that blocks, so that it does not hold the loop."""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple


class _Call(NamedTuple):
    context: contextvars.Context
    event: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[object]


class HandlerThread:
    """Calls a plain handler on a thread of its own, which does not keep the process alive.

    A thread cannot be ended. When a call is given up its thread ends with it, whenever that is, and the next call gets
    another one.
    """

    def __init__(self, handler: Callable[[Any], object], name: str) -> None:
        self._handler = handler
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] | None = None

    async def __call__(self, event: Any) -> object:
        """Call the handler and wait for it."""
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(self._calls,), name=self._name, daemon=True).start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        # With the context, so that what the handler publishes is known to come from it.
        self._calls.put(_Call(contextvars.copy_context(), event, loop, future))
        try:
            return await future
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Let the thread end after its call."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    def _work(self, calls: "queue.SimpleQueue[_Call | None]") -> None:
        while (call := calls.get()) is not None:
            try:
                result, error = call.context.run(self._handler, call.event), None
            except Exception as raised:  # noqa: BLE001  # a guest's code may raise anything; the loop's side judges it
                result, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop has ended in the meantime
                call.loop.call_soon_threadsafe(_settle, call.future, result, error)


def _settle(future: asyncio.Future[object], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # a future takes none
        future.set_exception(RuntimeError("handler raised StopIteration"))
    else:
        future.set_exception(error)
