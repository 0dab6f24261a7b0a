"""What somebody else's program can do: pyzmq and msgpack, and nothing of ours."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgpack
import zmq

Body = dict[str, Any]
NS_PER_S = 1_000_000_000
WAIT_S_MAX = 30.0


def make_signal(signal_id: str, **changes: Any) -> Body:
    """A signal to buy 0.01 BTC/USDT at the market, good for 20 s; a change to None leaves the field out."""
    now_ns = time.time_ns()
    body = {
        "type": "Trading.Signal.Generated.v1",
        "source": "somebody",
        "epoch": 1,
        "seq": 1,
        "timestamp_ns": now_ns,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "signal_id": signal_id,
        "strategy": "somebody",
        "action": "buy",
        "order_type": "market",
        "quantity": "0.01",
        "time_in_force": "ioc",
        "expires_ns": now_ns + 20 * NS_PER_S,
    }
    return {key: value for key, value in {**body, **changes}.items() if value is not None}


def make_frame(kind: str, body: Body) -> bytes:
    """A body on the topic that its fields name."""
    topic = f"{kind}.{body['exchange']}.{body['symbol']}"
    return topic.encode() + b"\0" + msgpack.packb(body)


def signal_frame(signal_id: str, **changes: Any) -> bytes:
    """A signal, ready to be pushed."""
    return make_frame("signal", make_signal(signal_id, **changes))


class Listener:
    """A subscription whose messages are read one by one."""

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self._socket = socket

    def next(self, timeout_s: float = WAIT_S_MAX) -> tuple[str, Body]:
        """Topic and body of the next message."""
        assert self._socket.poll(int(timeout_s * 1000)), f"no message within {timeout_s:g} s"
        topic, _, body = self._socket.recv().partition(b"\0")
        return topic.decode(), msgpack.unpackb(body)

    def find(self, is_wanted: Callable[[Body], bool], timeout_s: float = WAIT_S_MAX) -> Body:
        """The next message that is wanted; others are passed over."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            _, body = self.next(max(0.0, deadline_s - time.monotonic()))
            if is_wanted(body):
                return body

    def acknowledgement(self, signal_id: str) -> Body:
        """The next answer to a signal."""
        return self.find(
            lambda body: body["type"] == "Trading.Signal.Acknowledged.v1" and body["signal_id"] == signal_id
        )


class PlainClient:
    """Sockets of one test; leaving the block closes them."""

    def __init__(self, endpoint_of: Callable[[str], str]) -> None:
        self._endpoint_of = endpoint_of
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # A context holds its sockets weakly, and one that nobody holds complains.
        self._sockets: list[zmq.Socket[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every socket; what is not sent yet is dropped."""
        self._context.destroy(linger=0)

    def connect(self, socket_type: int, channel: str) -> "zmq.Socket[bytes]":
        """A socket of any kind on a channel, whether or not it belongs there."""
        socket = self._make(socket_type)
        socket.connect(self._endpoint_of(channel))
        return socket

    def connect_publisher(self, channel: str, prefix: bytes) -> "zmq.Socket[bytes]":
        """A publisher on a channel that its subscriber binds, ready once that has asked for a prefix."""
        socket = self.connect(zmq.XPUB, channel)
        while socket.recv() != b"\x01" + prefix:
            pass
        return socket

    def bind(self, socket_type: int, channel: str) -> "zmq.Socket[bytes]":
        """Take a channel's place."""
        socket = self._make(socket_type)
        socket.bind(self._endpoint_of(channel))
        return socket

    def listen(self, channel: str, *prefixes: bytes) -> Listener:
        """Subscribe, and wait until the subscription is known to be active."""
        socket = self._make(zmq.SUB)
        for prefix in (*prefixes, b"heartbeat."):
            socket.subscribe(prefix)
        socket.connect(self._endpoint_of(channel))
        listener = Listener(socket)
        # The heartbeat's subscription was sent last, so when it works all work.
        listener.find(lambda body: body["type"] == "System.Channel.Heartbeat.v1")
        socket.unsubscribe(b"heartbeat.")
        return listener

    def push(self, *frames: bytes) -> None:
        """Push frames to the executor."""
        socket = self.connect(zmq.PUSH, "signals")
        for frame in frames:
            socket.send(frame)
        socket.close(linger=int(WAIT_S_MAX * 1000))

    def _make(self, socket_type: int) -> "zmq.Socket[bytes]":
        socket = self._context.socket(socket_type)
        self._sockets.append(socket)
        return socket
