"""`tickpulse demo`: the pipeline under supervisord and supervisord.conf, as a newcomer runs it first."""

import gzip
import itertools
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.demo import PROCESSES, Demo
from support.eventually import eventually
from support.pipeline import run_tickpulse
from support.plain_client import PlainClient
from support.real_data import CAPTURE_DIRECTORY, real_capture

from monitor.report import print_summary

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

CAPTURE_LINES = 12_000  # of the 58,325 of the capture
SUMMARY_KEYS = {
    "duration_s",
    "ticks_published",
    "ticks_received",
    "ticks_dropped",
    "signals_emitted",
    "signals_acknowledged",
    "orders_accepted",
    "orders_rejected",
    "fills",
    "duplicate_orders",
    "lost_signals",
    "positions",
    "tick_to_ack_us",
}


def beginning_of_capture(directory: Path) -> tuple[Path, int]:
    """The first lines of the real capture as a file of their own, and how many of them are a quote or a trade."""
    with gzip.open(real_capture(), "rb") as whole:
        lines = list(itertools.islice(whole, CAPTURE_LINES))
    path = directory / "capture.json"
    path.write_bytes(b"".join(lines))
    return path, sum(b"@bookTicker" in line or b"@trade" in line for line in lines)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Demo]]:
    """All demos of these tests, started at once: they mostly wait for supervisord, and can wait together."""
    running = {"synthetic": Demo("--duration", "3", "--json"), "endless": Demo("--duration", "600", "--json")}
    if (CAPTURE_DIRECTORY / "capture.gz").is_file():
        path, _ = beginning_of_capture(tmp_path_factory.mktemp("capture"))
        feed = ("--feed", "recorded", "--path", str(path), "--speed", "100")
        running["recorded"] = Demo(*feed, "--duration", "40", "--json")
    yield running
    for demo in running.values():
        demo.close()


def test_demo_sums_up_a_clean_run(demos: dict[str, Demo]) -> None:
    """Exit 0 and every key of the summary, with nothing lost, made twice or unanswered."""
    code, output, errors = demos["synthetic"].finish()

    summary = json.loads(output)
    assert code == 0, errors
    assert summary.keys() >= SUMMARY_KEYS
    assert summary["tick_to_ack_us"].keys() == {"p50", "p90", "p99", "p99_9", "max"}
    assert summary["duration_s"] == pytest.approx(3.0, abs=1.5)
    assert summary["ticks_published"] == summary["ticks_received"] + summary["ticks_dropped"] > 0
    assert summary["signals_emitted"] == summary["signals_acknowledged"] > 0
    assert summary["signals_emitted"] == (
        summary["orders_accepted"] + summary["orders_rejected"] + summary["signals_denied"]
    )
    assert summary["duplicate_orders"] == summary["lost_signals"] == 0
    assert summary["positions_agree"]
    assert summary["restarts"] == dict.fromkeys(PROCESSES, 0)


def test_demo_leaves_files_that_tell_the_same(demos: dict[str, Demo]) -> None:
    """What the demo counted can be read again from its run directory."""
    summary = json.loads(demos["synthetic"].finish()[1])

    views = {
        command: json.loads(run_tickpulse(command, "--json", "--run-dir", str(demos["synthetic"].directory)).stdout)
        for command in ("orders", "ledger")
    }

    placed, entered = ({order["client_order_id"] for order in view["orders"]} for view in views.values())
    assert placed == entered
    assert views["orders"]["positions"] == summary["positions"]
    assert views["ledger"]["summary"]["accepted"] == summary["orders_accepted"]
    assert {report["state"] for report in demos["synthetic"].reports().values()} == {"stopped"}


def test_strategies_of_a_recorded_demo_decide_again_as_they_did(demos: dict[str, Demo]) -> None:
    """Their tapes and the log that the recorder wrote: identical. With another parameter: different."""
    demo = demos["synthetic"]
    demo.finish()
    signals = sum(demo.counter(name, "signals_emitted") for name in ("momentum", "support_resistance"))

    same = run_tickpulse("replay", "--diff", "--json", "--run-dir", str(demo.directory))
    changed = run_tickpulse(
        *("replay", "--diff", "--strategy", "momentum", "--param", "rising_ticks=2", "--run-dir", str(demo.directory))
    )

    found = json.loads(same.stdout)
    assert (same.returncode, found["result"], len(found["lives"])) == (0, "identical", 2), same.stdout
    assert found["decisions"] >= signals > 0
    assert changed.returncode == 3
    assert "different at decision 1" in changed.stdout
    assert "parameter rising_ticks: 5 then, 2 now" in changed.stdout


def test_demo_tells_people_what_happened(demos: dict[str, Demo], capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the summary of the same run is a verdict, a table, and where to look closer."""
    summary = json.loads(demos["synthetic"].finish()[1])

    print_summary(summary, demos["synthetic"].directory)

    text = capsys.readouterr().out
    assert "every signal has its end, no order was lost or made twice" in text
    assert re.search(rf"ticks published +{summary['ticks_published']:,}", text)
    assert f"tickpulse orders --run-dir {demos['synthetic'].directory}" in text


def test_second_demo_in_the_same_directory_is_told_who_holds_it(demos: dict[str, Demo]) -> None:
    """Two pipelines never share sockets and journals by accident."""
    endless = demos["endless"]
    eventually(lambda: endless.pids().keys() == PROCESSES, what="the first demo is ready")

    done = run_tickpulse("demo", "--duration", "1", "--run-dir", str(endless.directory))

    assert done.returncode == 78
    assert f"pipeline is held by pid {endless.process.pid} since " in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_under_crashes_and_noise_ends_in_order_on_ctrl_c(demos: dict[str, Demo]) -> None:
    """What is killed comes back, garbage on telemetry is nothing, Ctrl-C settles and sums up: exit 130."""
    endless = demos["endless"]
    eventually(lambda: endless.pids().keys() == PROCESSES, what="ready")
    with PlainClient(lambda channel: f"ipc://{endless.directory}/sockets/{channel}.ipc") as rogue:
        telemetry = rogue.connect_publisher("telemetry", b"process.")
        for frame in (b"process.", b"process.x.y\0" + b"\xc1" * 50, b"process.x.y\0" + bytes(2 << 20)):
            telemetry.send(frame)
    killed = endless.pids()
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: endless.pids().keys() == PROCESSES and not set(endless.pids().values()) & set(killed.values()),
        what="all five are back, with other pids",
    )
    eventually(lambda: endless.counter("executor", "orders_accepted") >= 3, what="trading goes on")

    endless.process.send_signal(signal.SIGINT)
    code, output, errors = endless.finish()

    summary = json.loads(output)
    assert code == 130, errors
    assert summary["restarts"] == dict.fromkeys(PROCESSES, 1)
    assert summary["signals_emitted"] > 0
    assert summary["duplicate_orders"] == summary["lost_signals"] == 0
    assert summary["positions_agree"]
    assert {report["state"] for report in endless.reports().values()} == {"stopped"}
    assert "Traceback" not in errors


def test_demo_of_the_recorded_market_accounts_for_every_line(demos: dict[str, Demo], tmp_path: Path) -> None:
    """Each quote and trade of the beginning of a real capture is a tick that both strategies have or miss."""
    _, update_count = beginning_of_capture(tmp_path)  # skips where there is none
    code, output, errors = demos["recorded"].finish()

    summary = json.loads(output)
    feed = summary["feed"]
    assert code == 0, errors
    assert feed["lines_read"] == CAPTURE_LINES == feed["lines_published"] + feed["lines_ignored"]
    assert feed["lines_ignored"] == 0  # the order book's lines are published, too
    assert summary["ticks_published"] == update_count
    assert (feed["lines_malformed"], feed["feed_truncated"], feed["feed_ended"]) == (0, 0, 1)
    for strategy in summary["strategies"]:
        assert strategy["ticks_received"] + strategy["ticks_dropped"] == update_count
    assert summary["duplicate_orders"] == summary["lost_signals"] == 0
