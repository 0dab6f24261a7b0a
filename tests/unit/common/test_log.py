import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from common.errors import WireError, WireFault
from common.log import FAULT_KINDS_MAX, FaultLog, configure_logging, get_log


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Logging is global to a process: given back as it was."""
    yield
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def make_fault(fault: WireFault = WireFault.GARBAGE, text: str = "what was wrong") -> WireError:
    """A frame that was dropped."""
    return WireError(fault, text)


def dropped(text: str) -> list[tuple[str, str, str]]:
    """Channel, peer and fault of each record."""
    records = [json.loads(line) for line in text.splitlines()]
    return [(record["channel"], record["peer"], record["fault"]) for record in records]


def test_log_of_a_file_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with time in UTC, level, event, and what the logger carries; stdout stays free for results."""
    configure_logging("info")

    get_log(process="gateway", epoch=17).info("feed_ended", ticks=3, text="line\nfeed")

    written = capsys.readouterr()
    record = json.loads(written.err)
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "feed_ended",
        "level": "info",
        "process": "gateway",
        "epoch": 17,
        "ticks": 3,
        "text": "line\nfeed",
    }


def test_exception_is_told_inside_its_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The traceback is a field, so that every line stays readable by a program."""
    configure_logging("info")

    try:
        raise ValueError("boom")
    except ValueError:
        get_log().exception("process_failed")

    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: boom" in json.loads(line)["exception"]


def test_records_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """run.log_level decides."""
    configure_logging("warning")

    get_log().info("process_ready")
    get_log().warning("messages_lost")

    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["messages_lost"]


def test_terminal_gets_a_readable_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person reads no JSON."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging("info")

    get_log(process="gateway").info("feed_ended")

    assert "feed_ended" in terminal.getvalue()
    with pytest.raises(json.JSONDecodeError):
        json.loads(terminal.getvalue())


def test_fault_is_logged_once_for_each_channel_peer_and_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """A peer that sends rubbish all day fills a counter, not the disk."""
    configure_logging("info")
    faults = FaultLog(get_log())

    for _ in range(100):
        faults.report("orders", make_fault(), peer="a")
    faults.report("orders", make_fault(), peer="b")
    faults.report("orders", make_fault(WireFault.MISTYPED), peer="a")
    faults.report("signals", make_fault(), peer="a")

    assert dropped(capsys.readouterr().err) == [
        ("orders", "a", "frame_garbage"),
        ("orders", "b", "frame_garbage"),
        ("orders", "a", "frame_mistyped"),
        ("signals", "a", "frame_garbage"),
    ]


def test_fault_record_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """The first of a kind is told in full; a channel of unknown peers has one name for them."""
    configure_logging("info")

    FaultLog(get_log()).on("market")(make_fault(text="expected topic, NUL, body"))

    record = json.loads(capsys.readouterr().err)
    assert (record["event"], record["channel"], record["peer"]) == ("frame_dropped", "market", "-")
    assert record["reason"] == "expected topic, NUL, body"


def test_peers_without_end_are_no_way_to_fill_memory_or_disk(capsys: pytest.CaptureFixture[str]) -> None:
    """Each connection of a router is a new peer."""
    configure_logging("info")
    faults = FaultLog(get_log())

    for number in range(FAULT_KINDS_MAX + 10):
        faults.report("orders", make_fault(), peer=str(number))

    assert len(capsys.readouterr().err.splitlines()) == FAULT_KINDS_MAX
