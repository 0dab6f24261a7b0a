"""Orderly ends: SIGTERM and SIGINT settle what is under way, and the exit code says which it was."""

import signal
from collections.abc import Iterator

import pytest
from support.pipeline import Pipeline, make_config

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

# The gateway first and the exchange last, as supervisord.conf has it.
EVERYONE = ("gateway", "pingpong", "executor", "exchange")


@pytest.fixture(scope="module")
def started() -> Iterator[Pipeline]:
    """Everybody was started once; all these tests stop the same pipeline. An orderly stop takes 2 s at most."""
    with Pipeline(make_config(run={"stop_ms_max": 2_000})) as pipeline:
        start(pipeline, *EVERYONE)
        yield pipeline


@pytest.fixture
def trading(started: Pipeline) -> Pipeline:
    """Everybody runs, and orders are filled."""
    started.revive()
    started.wait_counter("pingpong", "signals_accepted", 3)
    return started


def start(pipeline: Pipeline, *names: str) -> None:
    """Start processes, whichever they are."""
    for name in names:
        if name == "pingpong":
            pipeline.start_strategy(name, "support.pipeline_strategies:PingPong")
        else:
            pipeline.start(name)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_each_process_ends_in_order_while_it_trades(trading: Pipeline, number: signal.Signals, code: int) -> None:
    """Each says that it has stopped, in its log and its status; nothing is under way any more."""
    codes = {name: trading.stop(name, number) for name in EVERYONE}

    last_words = {name: trading.log(name)[-1] for name in EVERYONE}
    assert codes == dict.fromkeys(EVERYONE, code)
    assert {record["event"] for record in last_words.values()} == {"process_stopped"}
    assert last_words["pingpong"]["counters"]["signals_pending"] == 0
    assert last_words["executor"]["counters"]["requests_waiting"] == 0
    assert trading.run("wait", *EVERYONE, "--stopped", "--timeout", "5").returncode == 0
    status = trading.run("status")
    assert (status.returncode, status.stdout.count(" stopped ")) == (3, len(EVERYONE))


@pytest.mark.parametrize("name", EVERYONE)
def test_process_that_waits_for_others_ends_at_once(name: str) -> None:
    """Nobody else is there; that is no reason to hang, nor an error."""
    codes = []
    with Pipeline() as pipeline:
        for number in (signal.SIGTERM, signal.SIGINT):
            start(pipeline, name)
            pipeline.eventually(lambda: (report := pipeline.report(name)) is not None and report["turns"])
            codes.append(pipeline.stop(name, number))

        unsettled = [record for record in pipeline.log(name) if record["event"] == "stop_unsettled"]

    assert (codes, unsettled) == ([0, 130], [])


def test_stopping_strategy_waits_for_the_end_of_its_signals(trading: Pipeline) -> None:
    """Its executor is dead when it is asked to end: it goes on until a new one has answered, and then ends with 0."""
    trading.kill("executor")
    trading.wait_counter("pingpong", "signals_pending", 1)
    trading.send_signal("pingpong", signal.SIGTERM)
    trading.eventually(lambda: trading.state("pingpong") == "stopping")

    trading.restart("executor")

    assert trading.join("pingpong") == 0
    assert trading.log("pingpong")[-1]["counters"]["signals_pending"] == 0


def test_second_signal_ends_a_process_at_once(trading: Pipeline) -> None:
    """Who asks twice does not want to wait for the end of a signal that nobody will answer."""
    trading.kill("executor")
    trading.wait_counter("pingpong", "signals_pending", 1)
    trading.send_signal("pingpong", signal.SIGTERM)
    trading.eventually(lambda: trading.state("pingpong") == "stopping")

    trading.send_signal("pingpong", signal.SIGTERM)

    assert trading.join("pingpong") == 1
    assert trading.log("pingpong")[-1]["event"] != "process_stopped"


def test_stop_that_cannot_settle_ends_within_its_limit(trading: Pipeline) -> None:
    """Nobody answers: after `stop_ms_max` it gives up, says so, and ends before supervisord would kill it."""
    trading.kill("executor")
    trading.wait_counter("pingpong", "signals_pending", 1)

    code = trading.stop("pingpong")

    warnings = [record for record in trading.log("pingpong") if record["event"] == "stop_unsettled"]
    assert code == 0
    assert [record["waited_ms"] for record in warnings] == [2_000]
