"""Makes and owns the sockets of a process.

libzmq's defaults are no message size limit, LINGER for ever, no heartbeats, 1,000 queued messages. None is left.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

import zmq

from common.config import SocketsConfig
from common.errors import ConfigError

Socket = zmq.Socket[bytes]


class Sockets:
    """All sockets of one process; closing it closes them."""

    def __init__(self, config: SocketsConfig) -> None:
        self._config = config
        # One thread moves 2 to 3 M small messages a second, more than one Python process can make.
        self._context = zmq.Context(io_threads=1)
        self._sockets: list[Socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def bind_publisher(self, endpoint: str, *, waits_for_slow: bool = False) -> Socket:
        """The sending end of a broadcast.

        Args:
            endpoint: Where subscribers find it.
            waits_for_slow: Block, up to a second a message, instead of dropping for a subscriber whose queue is full.
        """
        socket = self._make(zmq.PUB)
        if waits_for_slow:
            socket.setsockopt(zmq.XPUB_NODROP, 1)
            socket.setsockopt(zmq.SNDTIMEO, 1_000)
        return self._bind(socket, endpoint)

    def connect_publisher(self, endpoint: str) -> Socket:
        """The sending end of a broadcast that its receiver binds, as on telemetry."""
        return self._connect(self._make(zmq.PUB), endpoint)

    def bind_subscriber(self, endpoint: str, prefixes: Iterable[bytes]) -> Socket:
        """The receiving end of many broadcasts, as on telemetry."""
        return self._bind(_subscribed(self._make(zmq.SUB), prefixes), endpoint)

    def connect_subscriber(self, endpoint: str, prefixes: Iterable[bytes]) -> Socket:
        """The receiving end of a broadcast; the prefixes are subscribed in their order."""
        return self._connect(_subscribed(self._make(zmq.SUB), prefixes), endpoint)

    def bind_puller(self, endpoint: str) -> Socket:
        """The receiving end of a pipeline."""
        return self._bind(self._make(zmq.PULL), endpoint)

    def connect_pusher(self, endpoint: str) -> Socket:
        """The sending end of a pipeline. It queues only for a peer that is there, so a send can be refused."""
        socket = self._make(zmq.PUSH)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        return self._connect(socket, endpoint)

    def bind_router(self, endpoint: str) -> Socket:
        """The answering end of requests. An answer to a peer that has gone raises instead of vanishing."""
        socket = self._make(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        return self._bind(socket, endpoint)

    def connect_requester(self, endpoint: str) -> Socket:
        """The asking end. It may ask again without an answer, and then refuses the answer to the first question."""
        socket = self._make(zmq.REQ)
        socket.setsockopt(zmq.REQ_RELAXED, 1)
        socket.setsockopt(zmq.REQ_CORRELATE, 1)
        return self._connect(socket, endpoint)

    def close(self) -> None:
        """Close every socket and the context; what is queued may leave within the linger time."""
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()
        self._context.term()

    def _make(self, kind: int) -> Socket:
        config = self._config
        socket: Socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, config.linger_ms)
        socket.setsockopt(zmq.SNDHWM, config.queue_messages_max)
        socket.setsockopt(zmq.RCVHWM, config.queue_messages_max)
        socket.setsockopt(zmq.MAXMSGSIZE, config.message_bytes_max)
        socket.setsockopt(zmq.RECONNECT_IVL, config.reconnect_ms)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, config.reconnect_ms_max)
        self._sockets.append(socket)
        return socket

    def _bind(self, socket: Socket, endpoint: str) -> Socket:
        self._set_transport(socket, endpoint)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise ConfigError(
                f"endpoint {endpoint}: expected a free address to bind, {zmq.strerror(error.errno or 0)}; "
                "stop who holds it or change [channels]"
            ) from error
        return socket

    def _connect(self, socket: Socket, endpoint: str) -> Socket:
        self._set_transport(socket, endpoint)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise ConfigError(
                f"endpoint {endpoint}: expected ipc://path or tcp://host:port, {zmq.strerror(error.errno or 0)}; "
                "correct [channels]"
            ) from error
        return socket

    def _set_transport(self, socket: Socket, endpoint: str) -> None:
        if not endpoint.startswith("tcp:"):
            return
        # A Unix socket's death is known at once; across hosts silence is all there is.
        socket.setsockopt(zmq.HEARTBEAT_IVL, self._config.heartbeat_ms)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * self._config.heartbeat_ms)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 3 * self._config.heartbeat_ms)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)


def _subscribed(socket: Socket, prefixes: Iterable[bytes]) -> Socket:
    # It has nothing to say; with a linger time a stop would wait to subscribe at a publisher that has gone.
    socket.setsockopt(zmq.LINGER, 0)
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
    return socket
