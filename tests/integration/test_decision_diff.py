"""A live session of real processes, killed and started again, through the strategy's code once more."""

from collections import Counter
from collections.abc import Iterator
from threading import Event, Thread
from typing import Self

import pytest
import zmq
from support.pipeline import Pipeline, make_config
from support.pipeline_strategies import PingPong

from common.store.memory import MemoryStore
from common.wire.codec import decode
from strategy.tape.diff import compare_tape
from strategy.tape.file import Tape, find_tapes
from strategy.tape.notes import CLOSED

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

NAME = "pingpong"
KINDS = (b"tick.", b"trade.")


class Listening:
    """Keeps what a gateway sends, from the first message that comes."""

    def __init__(self, endpoint: str) -> None:
        self.log = MemoryStore()
        self._endpoint = endpoint
        self._is_over = Event()
        self._thread = Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _listen(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.set_hwm(0)
            socket.linger = 0
            for kind in KINDS:
                socket.subscribe(kind)
            socket.connect(self._endpoint)
            while not self._is_over.is_set() or socket.poll(0):
                if socket.poll(20):
                    message = decode(socket.recv())
                    self.log.append(message, message.timestamp_ns)


@pytest.fixture
def session() -> Iterator[tuple[Pipeline, Listening]]:
    """The gateway sends and is listened to; nobody trades yet."""
    with Pipeline(make_config()) as pipeline, Listening(pipeline.endpoint("market")) as listening:
        pipeline.start("exchange", "executor", "gateway")
        pipeline.eventually(lambda: listening.log.last_id, what="the first message")
        yield pipeline, listening


def test_session_with_a_crash_in_it_is_identical(session: tuple[Pipeline, Listening]) -> None:
    """Both lives: the first one's tape has no end, the second began with what the first had left."""
    pipeline, listening = session
    pipeline.start_strategy(NAME, "support.pipeline_strategies:PingPong")
    pipeline.wait_counter(NAME, "signals_accepted", 5)
    pipeline.kill(NAME)
    pipeline.restart(NAME)
    pipeline.wait_counter(NAME, "signals_accepted", 5)
    assert pipeline.counter(NAME, "tape_bytes") > 0
    pipeline.stop(NAME)

    tapes = [Tape(path) for path in find_tapes(pipeline.directory / "state", NAME)]
    diffs = [compare_tape(tape, listening.log, PingPong, {}) for tape in tapes]

    assert [(diff.result, diff.damage, diff.is_code_changed) for diff in diffs] == [("identical", "", False)] * 2
    assert [diff.comparison.ended for diff in diffs] == [None, CLOSED]
    assert all(diff.comparison.decisions >= 5 for diff in diffs)
    journal = Counter(signal["signal_id"].rsplit("-", 1)[0] for signal in pipeline.journal()["signals"])
    taped = [diff.comparison.decisions for diff in diffs]
    assert len(journal) == len(taped)
    # The kill took what was not written yet: 5 ms, so at most the newest decision.
    allowed = (1, 0)
    for life, decisions, lost_max in zip(sorted(journal), taped, allowed, strict=True):
        assert 0 < journal[life] <= decisions + lost_max
    other = compare_tape(tapes[1], listening.log, PingPong, {"quantity": 0.02})
    assert other.comparison.difference is not None
    assert {field.name for field in other.comparison.difference.fields if field.is_different} == {"quantity"}


def test_strategy_without_a_tape_trades_as_well() -> None:
    """It is the config's choice."""
    with Pipeline(make_config(strategy={NAME: {"tape": False}})) as pipeline:
        pipeline.start("exchange", "executor", "gateway")
        pipeline.start_strategy(NAME, "support.pipeline_strategies:PingPong")
        pipeline.wait_counter(NAME, "signals_accepted", 1)

        assert pipeline.counter(NAME, "tape_bytes") == 0
        assert find_tapes(pipeline.directory / "state", NAME) == []
