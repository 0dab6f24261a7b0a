"""Frames that nobody should send, on every socket: dropped, counted, logged once for each kind, and work goes on."""

import itertools
import json
import random
import socket as unix_socket
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgpack
import pytest
import zmq
from support.pipeline import Pipeline
from support.plain_client import Body, PlainClient, make_signal, signal_frame

from common.errors import WireFault

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

SEED = 20261121
REPEATS = 3
OVERSIZED_BYTES = 2 << 20
NS_WITHOUT_NUL = int.from_bytes(b"\x7f" * 8)
CHANNELS = ("market", "snapshots", "signals", "events", "orders", "executions")


def frame(topic: str, body: Any) -> bytes:
    """Any body on any topic."""
    return topic.encode() + b"\0" + msgpack.packb(body)


def hostile_frames(topic: str, good: Body) -> dict[str, list[bytes]]:
    """Frames for a channel by the fault that each must be counted as; `good` is what the topic is for."""
    prefix = topic.encode() + b"\0"
    body = msgpack.packb(good)
    return {
        "frame_garbage": [
            prefix + b"\xc1" * 40,
            prefix,
            prefix + body[: len(body) // 2],
            prefix + body + b"\x00",
            prefix + b"\xc1" + random.Random(SEED).randbytes(300),
            prefix + b"\x81\xa1a" * 100_000,
        ],
        "frame_oversized": [prefix + bytes(OVERSIZED_BYTES)],
        "frame_mistyped": [
            frame(topic, {**good, "timestamp_ns": "now"}),
            frame(topic, {**good, "source": "s" * 65}),
            frame(topic, {**good, "epoch": -1}),
            frame(topic, {"type": good["type"]}),
            frame(topic, [1, 2, 3]),
            frame(topic, {}),
            prefix + b"\x91" * 100_000,
        ],
        "frame_unknown_type": [
            frame(topic, {**good, "type": good["type"].replace(".v1", ".v2")}),
            frame(topic, {**good, "type": "t" * 1000}),
        ],
        "frame_off_topic": [frame(topic + "X", good)],
    }


def topicless_frames(good: Body) -> dict[str, list[bytes]]:
    """Frames that no subscription would bring, so only for sockets without one."""
    body = msgpack.packb(good)
    return {
        "frame_without_topic": [b"", b"no NUL in here"],
        "frame_bad_topic": [b"\0" + body, b"No Topic\0" + body, b"tick." + b"x" * 500 + b"\0" + body],
    }


TICK: Body = {
    "type": "Market.Tick.Received.v1",
    "source": "rogue",
    "epoch": 1,
    "seq": 1,
    "timestamp_ns": 1,
    "exchange": "simulated",
    "symbol": "BTC/USDT",
    "raw_symbol": "BTCUSDT",
    "local_timestamp_ns": 1,
    "bid": 1.0,
}
TICK_TOPIC = "tick.simulated.BTC/USDT"
HEARTBEAT: Body = {
    "type": "System.Channel.Heartbeat.v1",
    "source": "gateway",
    "epoch": 1,
    "seq": 1,
    "timestamp_ns": 1,
    "role": "gateway",
    "channel": "market",
    "sequences": {},
}
STATE_REQUEST: Body = {
    "type": "Trading.State.Requested.v1",
    "source": "rogue",
    "epoch": 1,
    "seq": 1,
    "timestamp_ns": 1,
    "strategy": "rogue",
    "request_id": "1",
}
SNAPSHOT_REQUEST: Body = {
    "type": "Market.Snapshot.Requested.v1",
    "source": "rogue",
    "epoch": 1,
    "seq": 1,
    "timestamp_ns": 1,
    "subscriber": "rogue",
    "request_id": "1",
}
QUERY: Body = {
    "type": "Venue.Order.Query.v1",
    "source": "rogue",
    "epoch": 1,
    "seq": 1,
    "timestamp_ns": 1,
    "exchange": "simulated",
    "symbol": "BTC/USDT",
    "request_id": "1",
    "client_order_id": "never-placed",
}


@pytest.fixture(scope="module")
def besieged() -> Iterator[Pipeline]:
    """A pipeline with a strategy that trades."""
    with Pipeline() as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        pipeline.start_strategy("pingpong", "support.pipeline_strategies:PingPong")
        pipeline.wait_ready()
        yield pipeline


@pytest.fixture
def rogue(besieged: Pipeline) -> Iterator[PlainClient]:
    """Somebody with access to the sockets and bad manners."""
    with PlainClient(besieged.endpoint) as client:
        yield client


def counts(pipeline: Pipeline, name: str, prefix: str = "") -> Counter[str]:
    """What a process has dropped so far, by fault."""
    return Counter(
        {
            key.removeprefix(prefix): count
            for key, count in pipeline.report(name)["counters"].items()
            if key.startswith(f"{prefix}frame_") and key != "frames_dropped"
        }
    )


def shown_by_status(pipeline: Pipeline, name: str) -> Counter[str]:
    """The same as an operator sees it."""
    row = next(row for row in pipeline.view("status")["processes"] if row["name"] == name)
    return Counter({key: count for key, count in row["counters"].items() if key.startswith("frame_")})


def assert_counted(pipeline: Pipeline, name: str, expected: Counter[str], prefix: str = "") -> None:
    """Each frame was counted once, as what it is."""
    pipeline.eventually(
        lambda: counts(pipeline, name, prefix) == expected,
        what=lambda: f"{name} counts {expected}, was {counts(pipeline, name, prefix)}",
    )


def assert_logged_once_a_kind(pipeline: Pipeline, name: str, channel: str, kinds: set[str]) -> None:
    """However many came, the log has one line for each kind from each peer."""
    records = [
        (record["peer"], record["fault"])
        for record in pipeline.log(name)
        if record["event"] == "frame_dropped" and record["channel"] == channel
    ]
    assert len(records) == len(set(records))
    assert {fault for _, fault in records} == kinds


def assert_trading(pipeline: Pipeline) -> None:
    """Signals become orders, from now on."""
    before = pipeline.counter("pingpong", "signals_accepted")
    pipeline.wait_counter("pingpong", "signals_accepted", before + 3)


def total(kinds: dict[str, list[bytes]]) -> Counter[str]:
    """How often each fault must be counted when every frame is sent `REPEATS` times."""
    return Counter({fault: REPEATS * len(frames) for fault, frames in kinds.items()})


def test_hostile_frames_on_signals_are_dropped_and_counted(besieged: Pipeline, rogue: PlainClient) -> None:
    """The executor's way in."""
    kinds = hostile_frames("state_request.executor.rogue", STATE_REQUEST) | topicless_frames(STATE_REQUEST)
    kinds["frame_unexpected"] = [frame(TICK_TOPIC, TICK)]
    kinds["frame_mistyped"] += [signal_frame("id with blanks", quantity=[]), signal_frame("x" * 65)]
    before = counts(besieged, "executor")

    for _ in range(REPEATS):
        rogue.push(*[item for frames in kinds.values() for item in frames])

    assert_counted(besieged, "executor", before + total(kinds))
    assert shown_by_status(besieged, "executor") == before + total(kinds)
    assert_logged_once_a_kind(besieged, "executor", "signals", set(kinds))
    assert_trading(besieged)
    besieged.eventually(lambda: besieged.counter("executor", "frames_kept") >= total(kinds).total(), what="frames kept")
    letters = json.loads(besieged.run("dead-letters", "list", "--owner", "frames:signals", "--json").stdout)
    assert {letter["reason"] for letter in letters} == {WireFault(kind).name for kind in kinds}


def test_frames_in_parts_on_signals_count_part_by_part(besieged: Pipeline, rogue: PlainClient) -> None:
    """A message of several frames is none of ours: nothing of it is joined together to a signal."""
    before = counts(besieged, "executor")
    # The clock's bytes may hold a NUL, and a part with a NUL has a topic, though a bad one.
    topic, _, body = signal_frame("in-parts", timestamp_ns=NS_WITHOUT_NUL, expires_ns=NS_WITHOUT_NUL).partition(b"\0")

    rogue.connect(zmq.PUSH, "signals").send_multipart([topic, body, b"", b"tail"])

    assert_counted(besieged, "executor", before + Counter({"frame_without_topic": 4}))
    assert "in-parts" not in {signal["signal_id"] for signal in besieged.journal()["signals"]}


@pytest.mark.parametrize(
    ("channel", "process", "topic", "good"),
    [
        ("snapshots", "gateway", "snapshot_request.gateway.rogue", SNAPSHOT_REQUEST),
        ("orders", "exchange", "query_order.simulated.BTC/USDT", QUERY),
    ],
)
def test_hostile_requests_are_dropped_and_counted(
    besieged: Pipeline, rogue: PlainClient, channel: str, process: str, topic: str, good: Body
) -> None:
    """The two sockets that answer: one frame too few or too many, and every bad frame, in a good envelope."""
    kinds = hostile_frames(topic, good) | topicless_frames(good)
    kinds["frame_unexpected"] = [frame(TICK_TOPIC, TICK)]
    envelopes = [[], [b""], [b"", b""], [b"x", b"y"], [b"a", b"b", b"c", b"d", b"e"], [b""] * 50]
    before = counts(besieged, process)
    dealer = rogue.connect(zmq.DEALER, channel)

    for _ in range(REPEATS):
        for item in (item for frames in kinds.values() for item in frames):
            dealer.send_multipart([b"", item])
        for envelope in envelopes:
            dealer.send_multipart([*envelope, b"lonely"])
    dealer.send_multipart([b"", frame(topic, good)])

    expected = total(kinds)
    expected["frame_without_topic"] += REPEATS * len(envelopes)
    assert_counted(besieged, process, before + expected)
    assert_logged_once_a_kind(besieged, process, channel, set(kinds))
    assert_trading(besieged)


def test_bad_request_to_the_exchange_is_answered_with_the_reason(besieged: Pipeline, rogue: PlainClient) -> None:
    """Who asks nonsense is told so, and a good question on the same socket is answered after it."""
    asker = rogue.connect(zmq.REQ, "orders")

    asker.send(b"nonsense")
    refused = msgpack.unpackb(asker.recv().partition(b"\0")[2])
    asker.send(frame("query_order.simulated.BTC/USDT", QUERY))
    answered = msgpack.unpackb(asker.recv().partition(b"\0")[2])

    assert (refused["type"], refused["reason"]) == ("Venue.Request.Refused.v1", "FRAME_WITHOUT_TOPIC")
    assert (answered["request_id"], answered["outcome"]) == ("1", "not_found")
    assert_trading(besieged)


def test_asker_that_reads_no_answer_stops_nobody(besieged: Pipeline, rogue: PlainClient) -> None:
    """Thousands of questions whose answers nobody takes: the exchange goes on for everybody else."""
    dealer = rogue.connect(zmq.DEALER, "orders")
    dealer.setsockopt(zmq.RCVHWM, 1)
    before = besieged.counter("exchange", "requests_query_order")

    for _ in range(2_000):
        dealer.send_multipart([b"", frame("query_order.simulated.BTC/USDT", QUERY)])

    besieged.wait_counter("exchange", "requests_query_order", before + 2_000)
    assert_trading(besieged)


def test_no_order_can_be_placed_with_an_amount_that_is_no_decimal(besieged: Pipeline, rogue: PlainClient) -> None:
    """The exchange has its own eyes: it refuses, whatever an executor would have let pass."""
    asker = rogue.connect(zmq.REQ, "orders")
    submission = {
        **QUERY,
        "type": "Venue.Order.Submit.v1",
        "side": "buy",
        "order_type": "market",
        "time_in_force": "ioc",
        "expires_ns": 1 << 62,
    }
    answers = []

    for number, quantity in enumerate(("NaN", "Infinity", "-1", "0", "0.00001", "1e999999")):
        ids = {"client_order_id": f"rogue-{number}", "quantity": quantity}
        asker.send(frame("submit_order.simulated.BTC/USDT", {**submission, **ids}))
        answers.append(msgpack.unpackb(asker.recv().partition(b"\0")[2]))

    filled = {row["client_order_id"] for row in besieged.ledger()["executions"]}
    assert [answer.get("outcome", "refused") for answer in answers] == ["rejected"] * 6
    assert all(answer["reason"].startswith("QUANTITY_") for answer in answers)
    assert not {name for name in filled if name.startswith("rogue-")}


def test_publisher_in_the_gateways_place_is_counted_and_outlived(besieged: Pipeline, rogue: PlainClient) -> None:
    """Somebody binds the market channel while the gateway is dead; when it is back, everybody trades on."""
    kinds = hostile_frames(TICK_TOPIC, TICK)
    kinds["frame_bad_topic"] = [b"tick.\0", b"tick.Simulated.BTC\0" + msgpack.packb(TICK)]
    kinds["frame_without_topic"] = [b"tick.simulated.BTC/USDT"]
    kinds["frame_mistyped"] += [
        frame(TICK_TOPIC, {**TICK, "bid": amount}) for amount in (float("nan"), float("inf"), -1.0, "60000", 1e16)
    ]
    listeners = ("exchange", "pingpong")
    before = {name: counts(besieged, name, "market_") for name in listeners}
    besieged.kill("gateway")
    market = rogue.bind(zmq.PUB, "market")
    wait_until_heard(market, besieged, listeners)

    for _ in range(REPEATS):
        for item in (item for frames in kinds.values() for item in frames):
            market.send(item)
    market.send(frame(TICK_TOPIC, batch_without_records()))

    try:
        for name in listeners:
            assert_counted(besieged, name, before[name] + total(kinds), "market_")
            assert_logged_once_a_kind(besieged, name, "market", set(kinds))
            besieged.wait_counter(name, "ticks_malformed", 1)
    finally:
        rogue.close()
        besieged.restart("gateway")
    besieged.wait_ready()
    assert_trading(besieged)


def test_publisher_and_answerer_before_the_gateway_mislead_nobody() -> None:
    """A rogue gateway answers snapshots with nonsense: nobody joins, nobody dies, until the true one is there."""
    with Pipeline() as pipeline, PlainClient(pipeline.endpoint) as rogue:
        (pipeline.directory / "sockets").mkdir()
        market, snapshots = rogue.bind(zmq.PUB, "market"), rogue.bind(zmq.ROUTER, "snapshots")
        pipeline.start("exchange")
        pipeline.eventually(lambda: market.send(frame("heartbeat.gateway.market", HEARTBEAT)) or snapshots.poll(20))
        asked = snapshots.recv_multipart()
        snapshots.send_multipart([*asked[:-1], b"nonsense"])
        asked = snapshots.recv_multipart()  # it asks again
        snapshots.send_multipart([*asked[:-1], frame(TICK_TOPIC, TICK)])
        pipeline.wait_counter("exchange", "market_frame_without_topic", 1)
        state = pipeline.state("exchange")

        rogue.close()
        pipeline.start("gateway")
        pipeline.wait_ready()

    assert state == "starting"


def test_bytes_of_no_zeromq_peer_end_nobody(besieged: Pipeline) -> None:
    """Whoever opens the socket files directly and writes what he likes is hung up on."""
    noise = random.Random(SEED)
    for channel in CHANNELS:
        path = str(besieged.directory / "sockets" / f"{channel}.ipc")
        for content in (b"GET / HTTP/1.1\r\n\r\n", b"", b"\xff" * 100, noise.randbytes(4096)):
            with unix_socket.socket(unix_socket.AF_UNIX) as stranger:
                stranger.connect(path)
                stranger.sendall(content)

    assert_trading(besieged)
    assert all(besieged.state(name) == "ready" for name in ("exchange", "executor", "gateway", "pingpong"))


def test_wrong_kinds_of_sockets_end_nobody(besieged: Pipeline, rogue: PlainClient) -> None:
    """A PUSH to a publisher, a REQ to a puller, an upstream message to a publisher: libzmq or we ignore them."""
    for channel in CHANNELS:
        for kind in (zmq.PUSH, zmq.REQ, zmq.DEALER, zmq.PAIR):
            if (kind, channel) not in {(zmq.REQ, "orders"), (zmq.REQ, "snapshots")}:
                rogue.connect(kind, channel).send(b"is anybody there", zmq.DONTWAIT)
    for channel in ("market", "events", "executions"):
        listener = rogue.connect(zmq.XSUB, channel)
        for item in (b"\x01", b"\x01" + b"x" * 10_000, b"\x00never subscribed", b"upstream"):
            listener.send(item)

    assert_trading(besieged)
    assert all(besieged.state(name) == "ready" for name in ("exchange", "executor", "gateway", "pingpong"))


def test_good_signal_of_a_plain_client_works_after_all_that(rogue: PlainClient) -> None:
    """The sockets are the same as at the beginning."""
    events = rogue.listen("events", b"signal_acknowledged.")

    rogue.push(frame("signal.simulated.ETH/USDT", make_signal("still-works", symbol="ETH/USDT", quantity="1")))

    assert events.acknowledgement("still-works")["outcome"] == "accepted"


def wait_until_heard(market: "zmq.Socket[bytes]", pipeline: Pipeline, names: Iterable[str]) -> None:
    """Publish good ticks until these processes have found the way to their new publisher."""
    seqs = itertools.count(1)
    for name in names:
        before = pipeline.counter(name, "market_received")
        pipeline.eventually(
            lambda name=name, before=before: (
                market.send(frame(TICK_TOPIC, {**TICK, "seq": next(seqs)}))
                or pipeline.counter(name, "market_received") > before
            ),
            what=f"{name} hears the publisher",
        )


def batch_without_records() -> Body:
    """A batch that says three ticks and holds less than one."""
    fields = {key: value for key, value in TICK.items() if key not in {"bid", "local_timestamp_ns"}}
    place = {"timestamp_ns": 1 << 62, "epoch": 2, "seq": 3}
    return {**fields, **place, "type": "Market.Ticks.Received.v1", "count": 3, "data": bytes(10)}
