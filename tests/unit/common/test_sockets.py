"""The socket factory, and taking and sending frames: over real sockets in a directory of the test's own."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from support.eventually import eventually

from common.config import SocketsConfig
from common.errors import ConfigError
from common.sockets.factory import Socket, Sockets
from common.sockets.transfer import (
    PatientSender,
    Waiter,
    answer,
    drain,
    offer,
    send_waiting,
    take,
    take_answer,
    take_request,
)

CONFIG = SocketsConfig(
    queue_messages_max=7,
    message_bytes_max=12_345,
    linger_ms=40,
    reconnect_ms=3,
    reconnect_ms_max=33,
    heartbeat_ms=222,
)

# Every way to make a socket, on an endpoint that is free or where nobody is.
MAKERS: dict[str, Callable[[Sockets, str], Socket]] = {
    "bind_publisher": lambda sockets, endpoint: sockets.bind_publisher(endpoint),
    "bind_waiting_publisher": lambda sockets, endpoint: sockets.bind_publisher(endpoint, waits_for_slow=True),
    "connect_publisher": lambda sockets, endpoint: sockets.connect_publisher(endpoint),
    "bind_subscriber": lambda sockets, endpoint: sockets.bind_subscriber(endpoint, [b"tick."]),
    "connect_subscriber": lambda sockets, endpoint: sockets.connect_subscriber(endpoint, [b"tick."]),
    "bind_puller": lambda sockets, endpoint: sockets.bind_puller(endpoint),
    "connect_pusher": lambda sockets, endpoint: sockets.connect_pusher(endpoint),
    "bind_router": lambda sockets, endpoint: sockets.bind_router(endpoint),
    "connect_requester": lambda sockets, endpoint: sockets.connect_requester(endpoint),
}
SUBSCRIBERS = {"bind_subscriber", "connect_subscriber"}
each_maker = pytest.mark.parametrize("maker", MAKERS)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """A factory with ordinary limits; what it made is closed after the test."""
    with Sockets(SocketsConfig(linger_ms=0)) as made:
        yield made


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    """A Unix socket of the test's own."""
    return f"ipc://{tmp_path}/s"


def test_every_method_that_makes_a_socket_is_tested_here() -> None:
    """A new kind of socket must not slip past the options."""
    made = {name for name in vars(Sockets) if name.startswith(("bind_", "connect_"))}

    assert made == set(MAKERS) - {"bind_waiting_publisher"}


@each_maker
def test_socket_has_every_option_set_on_purpose(endpoint: str, maker: str) -> None:
    """The library's defaults are no message limit, LINGER for ever and 1,000 queued messages."""
    with Sockets(CONFIG) as sockets:
        socket = MAKERS[maker](sockets, endpoint)

        options = (zmq.SNDHWM, zmq.RCVHWM, zmq.MAXMSGSIZE, zmq.RECONNECT_IVL, zmq.RECONNECT_IVL_MAX)
        assert [socket.getsockopt(option) for option in options] == [7, 7, 12_345, 3, 33]
        # A subscriber has nothing to say, so a stop does not wait for it.
        assert socket.getsockopt(zmq.LINGER) == (0 if maker in SUBSCRIBERS else 40)


@each_maker
def test_socket_across_hosts_notices_a_peer_that_has_vanished(maker: str) -> None:
    """Over tcp silence is all there is when a host dies; a Unix socket's death is known at once."""
    with Sockets(CONFIG) as sockets:
        socket = MAKERS[maker](sockets, "tcp://127.0.0.1:*" if maker.startswith("bind") else "tcp://127.0.0.1:1")

        options = (zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TIMEOUT, zmq.HEARTBEAT_TTL, zmq.TCP_KEEPALIVE)
        # The time to live is kept in tenths of a second.
        assert [socket.getsockopt(option) for option in options] == [222, 666, 600, 1]


def test_unix_socket_has_no_heartbeats(sockets: Sockets, endpoint: str) -> None:
    """They would only cost."""
    assert sockets.bind_puller(endpoint).getsockopt(zmq.HEARTBEAT_IVL) == 0


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        ("connect_pusher", {zmq.TYPE: zmq.PUSH, zmq.IMMEDIATE: 1}),
        ("bind_router", {zmq.TYPE: zmq.ROUTER}),
        ("connect_requester", {zmq.TYPE: zmq.REQ}),
        ("bind_waiting_publisher", {zmq.TYPE: zmq.PUB, zmq.SNDTIMEO: 1_000}),
        ("bind_publisher", {zmq.TYPE: zmq.PUB, zmq.SNDTIMEO: -1}),
    ],
)
def test_socket_has_the_options_of_its_role(
    sockets: Sockets, endpoint: str, maker: str, options: dict[int, Any]
) -> None:
    """Those that can be read back; the others are shown by what they do."""
    socket = MAKERS[maker](sockets, endpoint)

    assert {option: socket.getsockopt(option) for option in options} == options


@each_maker
def test_endpoint_that_is_none_is_a_config_error(sockets: Sockets, maker: str) -> None:
    """It comes from the config, and only a person can correct it."""
    with pytest.raises(ConfigError, match=r"endpoint nonsense: expected .* \[channels\]"):
        MAKERS[maker](sockets, "nonsense")


def test_port_that_somebody_holds_is_a_config_error(sockets: Sockets) -> None:
    """The message names the endpoint and says what to do."""
    held = sockets.bind_puller("tcp://127.0.0.1:*").getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()

    with pytest.raises(ConfigError, match="expected a free address to bind, Address already in use") as refusal:
        sockets.bind_router(held)

    assert str(refusal.value).startswith(f"endpoint {held}: ")


def test_closing_the_factory_closes_all_its_sockets(endpoint: str) -> None:
    """Also the one whose bind failed, or the end of the process would wait for it."""
    sockets = Sockets(SocketsConfig(linger_ms=0))
    made = [sockets.bind_puller(endpoint), sockets.connect_pusher(endpoint)]
    with pytest.raises(ConfigError):
        sockets.bind_puller("nonsense")

    sockets.close()

    assert all(socket.closed for socket in made)


# Taking and sending.


def test_offer_to_an_absent_peer_is_refused_and_leaves_nothing_behind(sockets: Sockets, endpoint: str) -> None:
    """Nothing is queued for a peer that may never come: the outbox keeps it."""
    pusher = sockets.connect_pusher(endpoint)

    assert offer(pusher, b"early") is False
    puller = sockets.bind_puller(endpoint)
    eventually(lambda: offer(pusher, b"late"))

    assert eventually(lambda: take(puller)) == b"late"


def test_offer_to_a_full_queue_is_refused(endpoint: str) -> None:
    """A peer that does not read cannot make us hold ever more."""
    with Sockets(SocketsConfig(queue_messages_max=5, linger_ms=0)) as sockets:
        sockets.bind_puller(endpoint)
        pusher = sockets.connect_pusher(endpoint)
        eventually(lambda: offer(pusher, b"x" * 10_000))

        taken = [offer(pusher, b"x" * 10_000) for _ in range(1_000)]

        # Not the last of all: libzmq's thread may make room for one at any moment.
        assert not all(taken)


@pytest.mark.parametrize("waits_for_slow", [False, True])
def test_publisher_drops_for_a_slow_subscriber_unless_it_was_told_to_wait(
    endpoint: str, *, waits_for_slow: bool
) -> None:
    """A live feed waits for nobody; a file that should arrive whole waits for room."""
    with Sockets(SocketsConfig(queue_messages_max=5, linger_ms=0)) as sockets:
        publisher = sockets.bind_publisher(endpoint, waits_for_slow=waits_for_slow)
        subscriber = sockets.connect_subscriber(endpoint, [b""])
        eventually(lambda: offer(publisher, b"hello") and take(subscriber))

        taken = [offer(publisher, b"x" * 10_000) for _ in range(1_000)]

        # Any one, not the last: libzmq's thread may make room at any moment, until the kernel's buffer is full too.
        assert all(taken) is not waits_for_slow


def test_waiting_for_room_ends_with_the_time_of_the_socket(sockets: Sockets, endpoint: str) -> None:
    """Without room it is refused, with room it is taken."""
    pusher = sockets.connect_pusher(endpoint)
    pusher.setsockopt(zmq.SNDTIMEO, 1)

    assert send_waiting(pusher, b"nobody") is False
    sockets.bind_puller(endpoint)
    assert eventually(lambda: send_waiting(pusher, b"somebody"))


def test_taking_from_an_empty_socket_is_none(sockets: Sockets, endpoint: str) -> None:
    """Silence is a state, not an exception."""
    puller = sockets.bind_puller(endpoint)

    assert take(puller) is None
    assert drain(puller, lambda _: None, 10) == 0


def test_draining_hands_over_what_waits_in_order_up_to_the_limit(sockets: Sockets, endpoint: str) -> None:
    """A flood on one channel cannot starve the others."""
    puller, pusher = connect_pipeline(sockets, endpoint)
    frames: list[bytes] = []
    for number in range(5):
        offer(pusher, b"%d" % number)

    first_count = eventually(lambda: drain(puller, frames.append, 3))
    eventually(lambda: drain(puller, frames.append, 10) or len(frames) == 5)

    assert first_count <= 3
    assert frames == [b"0", b"1", b"2", b"3", b"4"]


def test_waiter_names_the_sockets_that_have_something(sockets: Sockets, tmp_path: Path) -> None:
    """And none when the time is over."""
    puller, pusher = connect_pipeline(sockets, f"ipc://{tmp_path}/a")
    silent = sockets.bind_puller(f"ipc://{tmp_path}/b")
    waiter = Waiter(puller, silent)

    assert waiter.wait(0) == set()
    offer(pusher, b"x")

    assert eventually(lambda: waiter.wait(1_000)) == {puller}


def test_message_over_the_limit_never_arrives(endpoint: str) -> None:
    """The connection is closed before it is read into memory."""
    with Sockets(SocketsConfig(message_bytes_max=1_000, linger_ms=0)) as sockets:
        puller, pusher = connect_pipeline(sockets, endpoint)

        frames: list[bytes] = []
        offer(pusher, b"x" * 1_001)
        eventually(lambda: offer(pusher, b"small") and drain(puller, frames.append, 10))

        assert set(frames) == {b"small"}


# Requests and answers.


def test_request_is_answered_in_its_envelope(sockets: Sockets, endpoint: str) -> None:
    """The usual case."""
    router, requester = sockets.bind_router(endpoint), sockets.connect_requester(endpoint)

    assert take_answer(requester) is None
    eventually(lambda: offer(requester, b"question"))
    envelope, question = eventually(lambda: take_request(router))
    assert take_answer(requester) is None
    assert answer(router, envelope, b"answer") is True

    assert question == b"question"
    assert eventually(lambda: take_answer(requester)) == b"answer"


def test_no_request_is_none(sockets: Sockets, endpoint: str) -> None:
    """Silence again."""
    assert take_request(sockets.bind_router(endpoint)) is None


def test_requester_asks_again_without_an_answer_and_refuses_the_answer_to_the_first(
    sockets: Sockets, endpoint: str
) -> None:
    """A late answer must never be taken for the answer to a newer question."""
    router, requester = sockets.bind_router(endpoint), sockets.connect_requester(endpoint)
    eventually(lambda: offer(requester, b"first"))
    first_envelope, _ = eventually(lambda: take_request(router))

    assert offer(requester, b"second") is True
    second_envelope, question = eventually(lambda: take_request(router))
    answer(router, first_envelope, b"to the first")
    answer(router, second_envelope, b"to the second")

    assert question == b"second"
    assert eventually(lambda: take_answer(requester)) == b"to the second"


def test_answer_to_an_asker_that_has_gone_is_told(sockets: Sockets, endpoint: str) -> None:
    """It would vanish otherwise; the exchange counts it."""
    router, requester = sockets.bind_router(endpoint), sockets.connect_requester(endpoint)
    eventually(lambda: offer(requester, b"question"))
    envelope, _ = eventually(lambda: take_request(router))

    requester.close()

    eventually(lambda: not answer(router, envelope, b"answer"))


@pytest.mark.parametrize(
    "parts",
    [[b"only"], [b"no delimiter", b"frame"], [b"", b"two", b"frames"], [b"a", b"b", b"", b"frame"], [b"1", b"x", b"f"]],
    ids=["bare", "no delimiter", "two frames", "long envelope", "wrong delimiter"],
)
def test_request_that_is_not_one_frame_behind_a_delimiter_comes_back_empty(
    sockets: Sockets, endpoint: str, parts: list[bytes]
) -> None:
    """Other people's programs send anything; it is refused like any unreadable frame, and the router lives on."""
    router = sockets.bind_router(endpoint)
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(endpoint)
        stranger.send_multipart(parts)

        envelope, question = eventually(lambda: take_request(router))
        assert question == b""
        assert answer(router, envelope, b"refused") is True
        stranger.close(linger=0)


def test_stranger_with_a_plain_request_socket_is_answered(sockets: Sockets, endpoint: str) -> None:
    """Without the number that our own sockets correlate by."""
    router = sockets.bind_router(endpoint)
    with zmq.Context() as context, context.socket(zmq.REQ) as stranger:
        stranger.connect(endpoint)
        stranger.send(b"question")

        envelope, question = eventually(lambda: take_request(router))
        answer(router, envelope, b"answer")

        assert question == b"question"
        assert stranger.recv() == b"answer"


def test_publisher_that_waits_is_freed_by_a_reader(endpoint: str) -> None:
    """Everything arrives, in order, though the queues hold a fraction of it."""
    with Sockets(SocketsConfig(queue_messages_max=5, linger_ms=0)) as sockets:
        publisher = sockets.bind_publisher(endpoint, waits_for_slow=True)
        subscriber = sockets.connect_subscriber(endpoint, [b""])
        eventually(lambda: offer(publisher, b"hello") and take(subscriber))
        frames: list[bytes] = []
        reader = threading.Thread(target=read_until, args=(subscriber, frames, b"199"))
        reader.start()

        sent = [send_waiting(publisher, b"%d" % number) for number in range(200)]
        reader.join()

        assert all(sent)
        assert [frame for frame in frames if frame != b"hello"] == [b"%d" % number for number in range(200)]


def connect_pipeline(sockets: Sockets, endpoint: str) -> tuple[Socket, Socket]:
    """A puller and a pusher that is known to be connected; nothing waits."""
    puller, pusher = sockets.bind_puller(endpoint), sockets.connect_pusher(endpoint)
    eventually(lambda: offer(pusher, b"hello"))
    eventually(lambda: take(puller))
    return puller, pusher


def read_until(socket: Socket, frames: list[bytes], last: bytes) -> None:
    """Collect frames up to the last one."""
    while not frames or frames[-1] != last:
        frames.append(socket.recv())


def test_patient_sender_keeps_the_newest_for_a_peer_that_comes_later(sockets: Sockets, endpoint: str) -> None:
    """In order; what had no room is the oldest."""
    sender = PatientSender(sockets.connect_pusher(endpoint), 3)
    for number in range(5):
        sender.send(b"early %d" % number)
    receiver = sockets.bind_puller(endpoint)
    received: list[bytes] = []

    def have_come() -> bool:
        sender.send(b"late")
        drain(receiver, received.append, 100)
        return b"late" in received

    eventually(have_come, what="what waited and what came then")

    early = [frame for frame in received if frame.startswith(b"early")]
    assert received[: len(early)] == early
    assert early == [b"early 2", b"early 3", b"early 4"][3 - len(early) :]
