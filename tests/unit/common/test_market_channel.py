"""A process's way into the market channel; the gateway's side is driven by hand, over real sockets."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import structlog
from support.eventually import eventually
from support.message_builders import EPOCH, NOW_NS, TOPIC, heartbeat_frame, make_tick, tick_frame

from common.clock import NS_PER_S, VirtualClock
from common.config import SocketsConfig
from common.errors import WireFault
from common.events.base import Message
from common.events.market import LastValue, SnapshotReported, SnapshotRequested, Tick
from common.sockets.factory import Sockets
from common.sockets.market import ASK_AGAIN_NS, MarketChannel
from common.sockets.transfer import Envelope, answer, offer, take_request
from common.wire import codec


class HandMadeGateway:
    """The gateway's ends of the market and snapshots channels. Each test decides what they say and when."""

    def __init__(self, directory: Path) -> None:
        self._sockets = Sockets(SocketsConfig(linger_ms=0))
        self._market = self._sockets.bind_publisher(f"ipc://{directory}/market")
        self._snapshots = self._sockets.bind_router(f"ipc://{directory}/snapshots")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sockets.close()

    def send(self, *frames: bytes) -> None:
        """Broadcast."""
        for frame in frames:
            offer(self._market, frame)

    def take_request(self) -> tuple[Envelope, SnapshotRequested] | None:
        """A snapshot request, if there is one."""
        taken = take_request(self._snapshots)
        if taken is None:
            return None
        request = codec.decode(taken[1])
        assert isinstance(request, SnapshotRequested)
        return taken[0], request

    def answer(self, envelope: Envelope, request: SnapshotRequested, *seqs: int, **changes: Any) -> None:
        """Say that the tick topic stands at a number; without one, that there is no topic yet."""
        report = SnapshotReported(
            source="gateway",
            epoch=EPOCH,
            seq=0,
            timestamp_ns=NOW_NS,
            subscriber=request.subscriber,
            request_id=changes.get("request_id", request.request_id),
            values=[LastValue(TOPIC, EPOCH, seq, make_tick(seq)) for seq in seqs],
        )
        assert answer(self._snapshots, envelope, changes.get("frame", codec.encode(report)))


class Listener:
    """A market channel and what came out of it."""

    def __init__(self, directory: Path) -> None:
        self._sockets = Sockets(SocketsConfig(linger_ms=0, reconnect_ms=1, reconnect_ms_max=10))
        self.clock = VirtualClock(NOW_NS)
        self.messages: list[Message] = []
        self.snapshots: list[Tick] = []
        self.channel = MarketChannel(
            self._sockets,
            market_endpoint=f"ipc://{directory}/market",
            snapshots_endpoint=f"ipc://{directory}/snapshots",
            patterns=["tick.*.*"],
            name="momentum",
            epoch=77,
            clock=self.clock,
            log=structlog.get_logger(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sockets.close()

    def drain(self) -> int:
        """One turn."""
        return self.channel.drain(self.messages.append, self.snapshots.append, 100)

    def numbers(self) -> list[int]:
        """The numbers of the messages that were handed over, after one more turn."""
        self.drain()
        return [message.seq for message in self.messages]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[HandMadeGateway]:
    """A gateway that says nothing by itself."""
    with HandMadeGateway(tmp_path) as made:
        yield made


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """A process that wants ticks."""
    with Listener(tmp_path) as made:
        yield made


def hear_heartbeat(gateway: HandMadeGateway, listener: Listener, **sequences: int) -> None:
    """Send heartbeats until one is heard."""

    def is_heard() -> bool:
        gateway.send(heartbeat_frame({TOPIC: sequences["last"]} if sequences else {}))
        listener.drain()
        return listener.channel.subscriber.heartbeats > 0

    eventually(is_heard)


def join(gateway: HandMadeGateway, listener: Listener, *seqs: int) -> None:
    """Go the whole way in, with a snapshot that stands at this number."""
    hear_heartbeat(gateway, listener)
    envelope, request = eventually(gateway.take_request)
    gateway.answer(envelope, request, *seqs)
    eventually(lambda: listener.drain() or listener.channel.is_joined)


def test_joining_is_heartbeat_then_snapshot_then_what_came_after_it(
    gateway: HandMadeGateway, listener: Listener
) -> None:
    """Nothing is missed and nothing comes twice: what the snapshot holds is dropped, what follows it is kept."""
    hear_heartbeat(gateway, listener)
    envelope, request = eventually(gateway.take_request)
    gateway.send(tick_frame(9), tick_frame(10), tick_frame(11), tick_frame(12))
    gateway.answer(envelope, request, 10)

    numbers = eventually(lambda: listener.numbers() if len(listener.messages) >= 2 or listener.drain() else None)

    assert (request.subscriber, listener.snapshots) == ("momentum", [make_tick(10)])
    assert numbers == [11, 12]
    counters = listener.channel.counters()
    assert (counters["market_received"], counters["market_lost"], counters["ticks_dropped"]) == (2, 0, 0)


def test_no_snapshot_is_asked_for_before_a_heartbeat_proves_the_subscription(
    gateway: HandMadeGateway, listener: Listener
) -> None:
    """A snapshot taken earlier could miss what came between it and the subscription."""
    turns = 0

    def has_waited() -> bool:
        nonlocal turns
        turns += 1
        gateway.send(tick_frame(turns))
        listener.drain()
        return turns > 5

    eventually(has_waited)

    assert gateway.take_request() is None
    assert listener.channel.is_listening
    assert listener.messages == []


def test_frames_wait_in_the_socket_until_the_snapshot_is_there(gateway: HandMadeGateway, listener: Listener) -> None:
    """They are not read, so they cannot be handed over before it."""
    hear_heartbeat(gateway, listener)
    gateway.send(tick_frame(1))

    assert not listener.channel.is_listening
    assert [listener.drain() for _ in range(3)] == [0, 0, 0]
    assert listener.messages == []


def test_joining_a_gateway_that_has_sent_nothing_yet(gateway: HandMadeGateway, listener: Listener) -> None:
    """The snapshot is empty; from then on the first tick is number 1."""
    join(gateway, listener)
    gateway.send(tick_frame(3))

    eventually(lambda: listener.numbers() == [3])

    assert listener.snapshots == []
    assert listener.channel.ticks_lost == 2


def test_unanswered_request_is_repeated_after_a_while(gateway: HandMadeGateway, listener: Listener) -> None:
    """The gateway was restarted in between; the late answer to the first request is not taken."""
    hear_heartbeat(gateway, listener)
    first_envelope, first = eventually(gateway.take_request)
    listener.drain()
    assert gateway.take_request() is None

    listener.clock.advance_to(listener.clock.now_ns() + ASK_AGAIN_NS)
    listener.drain()
    envelope, second = eventually(gateway.take_request)
    gateway.answer(first_envelope, first, 5)
    gateway.answer(envelope, second, 7)
    eventually(lambda: listener.drain() or listener.channel.is_joined)

    assert first.request_id != second.request_id
    assert [tick.seq for tick in listener.snapshots] == [7]


@pytest.mark.parametrize(
    "changes", [{"request_id": "77-999"}, {"frame": tick_frame(1)}], ids=["another request", "another message"]
)
def test_answer_to_something_else_is_not_taken(
    gateway: HandMadeGateway, listener: Listener, changes: dict[str, Any]
) -> None:
    """The id in the body decides, whatever the socket says."""
    hear_heartbeat(gateway, listener)
    envelope, request = eventually(gateway.take_request)
    gateway.answer(envelope, request, 5, **changes)
    listener.clock.advance_to(listener.clock.now_ns() + ASK_AGAIN_NS)

    again = eventually(lambda: (listener.drain(), gateway.take_request())[1])

    assert not listener.channel.is_joined
    gateway.answer(*again, 6)
    eventually(lambda: listener.drain() or listener.channel.is_joined)
    assert [tick.seq for tick in listener.snapshots] == [6]


def test_unreadable_answer_is_counted_and_asked_for_again(gateway: HandMadeGateway, listener: Listener) -> None:
    """It is dropped like any unusable frame."""
    hear_heartbeat(gateway, listener)
    envelope, request = eventually(gateway.take_request)
    gateway.answer(envelope, request, frame=b"rubbish")

    fault = f"market_{WireFault.NO_TOPIC.value}"
    eventually(lambda: listener.drain() or listener.channel.counters().get(fault) == 1)

    assert not listener.channel.is_joined


def test_lost_last_tick_is_counted_and_fetched_by_snapshot(gateway: HandMadeGateway, listener: Listener) -> None:
    """Nothing newer follows: without the snapshot the strategy would go on with an old price."""
    join(gateway, listener, 5)
    gateway.send(heartbeat_frame({TOPIC: 6}, seq=2))

    envelope, request = eventually(lambda: (listener.drain(), gateway.take_request())[1])
    gateway.answer(envelope, request, 6)
    eventually(lambda: listener.drain() or not listener.channel.subscriber.has_lost_tail)

    assert [tick.seq for tick in listener.snapshots] == [5, 6]
    assert listener.channel.ticks_lost == 1


@pytest.fixture
def log_records() -> Iterator[list[dict[str, Any]]]:
    """What is logged during the test."""
    with structlog.testing.capture_logs() as records:
        yield records


def test_gaps_are_counted_all_and_logged_once_a_second(
    gateway: HandMadeGateway, log_records: list[dict[str, Any]], tmp_path: Path
) -> None:
    """A stalled process loses thousands of stretches: each is counted, the log stays readable."""
    with Listener(tmp_path) as listener:
        join(gateway, listener, 5)
        gateway.send(tick_frame(8), tick_frame(10), tick_frame(12))
        eventually(lambda: listener.numbers() == [8, 10, 12])
        listener.clock.advance_to(listener.clock.now_ns() + NS_PER_S)
        gateway.send(tick_frame(14))
        eventually(lambda: listener.numbers() == [8, 10, 12, 14])

        records = [record for record in log_records if record["event"] == "messages_lost"]
        assert listener.channel.ticks_lost == 5
        assert [(record["expected_seq"], record["received_seq"], record["lost_in_all"]) for record in records] == [
            (6, 8, 2),
            (13, 14, 5),
        ]
