"""Clients that know the wire format and nothing of our code: topics, acknowledgements, and the scripts in examples/."""

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.pipeline import ROOT, Pipeline, View, child_environment
from support.plain_client import NS_PER_S, PlainClient, make_frame, make_signal, signal_frame

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

EXAMPLES = ROOT / "examples"


@contextmanager
def example(pipeline: Pipeline, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run one of the scripts, and end it if the test did not."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / name), *arguments, "--run-dir", str(pipeline.directory)],
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def orders_of(pipeline: Pipeline, signal_id: str) -> tuple[list[View], list[View]]:
    """The orders that the journal and the exchange's ledger hold for a signal."""
    entered = [order for order in pipeline.view("orders")["orders"] if order["signal_id"] == signal_id]
    ids = {order["client_order_id"] for order in entered}
    return entered, [order for order in pipeline.view("ledger")["orders"] if order["client_order_id"] in ids]


def test_exact_subscription_brings_no_other_symbol(client: PlainClient) -> None:
    """`tick.simulated.BTC/USD` and its NUL never match BTC/USDT, nor the other way round."""
    dollars = client.listen("market", b"tick.simulated.BTC/USD\0")
    tethers = client.listen("market", b"tick.simulated.BTC/USDT\0")

    heard_dollars = [dollars.next() for _ in range(30)]
    heard_tethers = [tethers.next() for _ in range(30)]

    for symbol, heard in (("BTC/USD", heard_dollars), ("BTC/USDT", heard_tethers)):
        # A heartbeat that was on its way when its subscription ended may still come.
        ticks = [(topic, body["symbol"]) for topic, body in heard if not topic.startswith("heartbeat.")]
        assert set(ticks) == {(f"tick.simulated.{symbol}", symbol)}


def test_prefix_without_nul_brings_both_symbols(client: PlainClient) -> None:
    """Why the NUL is there: without it the market of BTC/USD is that of BTC/USDT too."""
    listener = client.listen("market", b"tick.simulated.BTC/USD")

    heard = {listener.next()[0] for _ in range(30)}

    assert {"tick.simulated.BTC/USD", "tick.simulated.BTC/USDT"} <= heard


def test_numbers_of_a_topic_have_no_hole(client: PlainClient) -> None:
    """Whoever reads singles and batches sees every number of the stream once."""
    listener = client.listen("market", b"tick.simulated.ETH/USDT\0")
    bodies = [body for _, body in (listener.next() for _ in range(30)) if body["type"].startswith("Market.")]

    spans = [(body["seq"] - body.get("count", 1) + 1, body["seq"]) for body in bodies]

    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(spans))
    assert len({body["epoch"] for body in bodies}) == 1


def test_signal_pushed_five_times_makes_one_order(pipeline: Pipeline, client: PlainClient) -> None:
    """At most one order for a signal, and an answer to every push."""
    events = client.listen("events", b"signal_acknowledged.simulated.BTC/USDT\0")
    frame = signal_frame("five-times")

    answers = []
    for _ in range(5):
        client.push(frame)
        answers.append(events.acknowledgement("five-times"))

    entered, placed = orders_of(pipeline, "five-times")
    assert [answer["outcome"] for answer in answers] == ["accepted"] * 5
    assert len({answer["client_order_id"] for answer in answers}) == 1
    assert len(entered) == len(placed) == 1
    assert placed[0]["submissions"] == 1


def test_five_pushes_at_once_make_one_order(pipeline: Pipeline, client: PlainClient) -> None:
    """The repeats are there before the exchange has answered the first."""
    events = client.listen("events", b"signal_acknowledged.simulated.BTC/USDT\0")

    client.push(*[signal_frame("burst")] * 5)
    answer = events.acknowledgement("burst")

    entered, placed = orders_of(pipeline, "burst")
    assert answer["outcome"] == "accepted"
    assert len(entered) == len(placed) == 1


def test_known_id_with_another_quantity_is_a_conflict(pipeline: Pipeline, client: PlainClient) -> None:
    """The first body stands; the second is told so, and reaches no exchange."""
    events = client.listen("events", b"signal_acknowledged.simulated.BTC/USDT\0")
    body = make_signal("two-bodies")
    client.push(make_frame("signal", body))
    first = events.acknowledgement("two-bodies")

    client.push(make_frame("signal", {**body, "quantity": "0.02"}))
    second = events.acknowledgement("two-bodies")

    entered, placed = orders_of(pipeline, "two-bodies")
    assert (first["outcome"], second["outcome"], second["reason"]) == ("accepted", "conflict", "CONFLICT")
    assert [order["quantity"] for order in (*entered, *placed)] == ["0.01", "0.01"]


def test_same_quantity_in_another_spelling_is_the_same_signal(client: PlainClient) -> None:
    """0.01 and 0.0100 are one amount, so a client that formats differently is no conflict."""
    events = client.listen("events", b"signal_acknowledged.simulated.BTC/USDT\0")
    body = make_signal("two-spellings")
    client.push(make_frame("signal", body))
    first = events.acknowledgement("two-spellings")

    client.push(make_frame("signal", {**body, "quantity": "0.0100"}))
    second = events.acknowledgement("two-spellings")

    assert first["outcome"] == second["outcome"] == "accepted"


def test_watch_ticks_prints_one_symbol(pipeline: Pipeline) -> None:
    """The example shows the asked-for number of ticks of BTC/USD and none of BTC/USDT."""
    with example(pipeline, "watch_ticks.py", "BTC/USD", "--count", "20") as process:
        output, errors = process.communicate(timeout=30)

    lines = output.splitlines()[1:]
    assert process.returncode == 0, errors
    assert len(lines) == 20
    assert all(" BTC/USD #" in line and " bid " in line for line in lines)


def test_watch_ticks_ends_quietly_on_ctrl_c(pipeline: Pipeline) -> None:
    """A terminal user sees no traceback."""
    with example(pipeline, "watch_ticks.py", "BTC/USDT") as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert all(shown)
    assert (process.returncode, errors) == (0, "")


def test_watch_ticks_reads_batches() -> None:
    """At full speed ticks come packed; the example unpacks them without losing a number."""
    config = {
        "run": {"report_interval_ms": 50},
        "gateway": {"synthetic": {"rate": 50_000.0, "trade_share": 0.0}},
        "instruments": [
            {
                "exchange": "simulated",
                "symbol": "BTC/USDT",
                "raw_symbol": "BTCUSDT",
                "tick_size": "0.01",
                "lot_size": "0.0001",
            }
        ],
    }
    with Pipeline(config) as pipeline:
        pipeline.start("gateway")
        pipeline.wait_ready()

        with example(pipeline, "watch_ticks.py", "BTC/USDT", "--count", "2000") as process:
            output, errors = process.communicate(timeout=30)
        batches = pipeline.wait_counter("gateway", "batches_published", 1)

    numbers = [int(line.split("#")[1].split()[0]) for line in output.splitlines()[1:]]
    assert process.returncode == 0, errors
    assert batches
    assert numbers == list(range(numbers[0], numbers[0] + 2000))
    assert "nan" not in output


def test_push_signal_reports_an_accepted_order(pipeline: Pipeline) -> None:
    """The example's one signal is one order at the exchange."""
    with example(pipeline, "push_signal.py", "buy", "0.01", "BTC/USDT", "--id", "by-example") as process:
        output, errors = process.communicate(timeout=30)

    entered, placed = orders_of(pipeline, "by-example")
    assert process.returncode == 0, errors
    assert output.startswith("by-example: accepted order tp-")
    assert len(entered) == len(placed) == 1


def test_push_signal_repeats_a_signal_without_a_second_order(pipeline: Pipeline) -> None:
    """Run twice with the same id and the same expiry it brings the recorded answer."""
    expires = str(time.time_ns() + 60 * NS_PER_S)
    outputs = []
    for _ in range(2):
        with example(
            pipeline, "push_signal.py", "buy", "0.01", "BTC/USDT", "--id", "asked-again", "--expires-ns", expires
        ) as process:
            outputs.append(process.communicate(timeout=30)[0])

    entered, placed = orders_of(pipeline, "asked-again")
    assert outputs[0] == outputs[1]
    assert len(entered) == len(placed) == 1


def test_push_signal_tells_the_reason_of_a_refusal(pipeline: Pipeline) -> None:
    """Exit code 1 and the executor's words."""
    with example(pipeline, "push_signal.py", "buy", "0.00001", "BTC/USDT") as process:
        output, errors = process.communicate(timeout=30)

    assert process.returncode == 1, errors
    assert "denied OFF_LOT" in output


def test_push_signal_gives_up_without_an_executor() -> None:
    """Nobody answers: it says so when the signal has expired, instead of waiting for ever."""
    with Pipeline() as nobody, example(nobody, "push_signal.py", "buy", "1", "BTC/USDT", "--lifetime-ms", "300") as one:
        output, errors = one.communicate(timeout=30)

    assert one.returncode == 3
    assert (output, "is the executor running?" in errors) == ("", True)


def test_push_signal_sends_again_until_the_executor_can_act() -> None:
    """The first pushes meet nobody, the next ones an executor without an exchange; the signal is placed once."""
    with (
        Pipeline() as pipeline,
        example(
            pipeline, "push_signal.py", "buy", "0.01", "BTC/USDT", "--id", "early", "--lifetime-ms", "60000"
        ) as one,
    ):
        pipeline.start("gateway", "executor")
        pipeline.wait_counter("executor", "quotes_received", 3)
        pipeline.start("exchange")
        output, errors = one.communicate(timeout=40)
        entered, placed = orders_of(pipeline, "early")

    assert one.returncode == 0, errors
    assert output.startswith("early: accepted")
    assert len(entered) == len(placed) == 1


def test_own_strategy_of_the_example_trades(pipeline: Pipeline) -> None:
    """The first strategy of a newcomer, run by name, posts at the bid and follows it."""
    pipeline.start_strategy("newcomer", "examples.follow_the_bid:FollowTheBid", cwd=ROOT, notional=200)
    try:
        pipeline.wait_ready("newcomer")
        pipeline.wait_counter("newcomer", "signals_accepted", 3)
        pipeline.wait_counter("newcomer", "cancels_emitted", 1)
        failed = pipeline.counter("newcomer", "callbacks_failed")
    finally:
        code = pipeline.stop("newcomer")

    orders = [order for order in pipeline.journal()["orders"] if order["strategy"] == "newcomer"]
    assert (code, failed) == (0, 0)
    assert {order["order_type"] for order in orders} == {"limit"}
    pipeline.eventually(lambda: "cancelled" in {order["status"] for order in pipeline.journal()["orders"]})
