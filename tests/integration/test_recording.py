"""`tickpulse record` beside a real gateway: whole, after Ctrl-C, and after kill -9."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.eventually import eventually
from support.feed_builders import START_NS, drain, make_recorded_feed
from support.pipeline import ROOT, Pipeline, child_environment, make_config

from gateway.feeds.base import Update

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

UPDATE_COUNT = 3_000


def make_gateway(**synthetic: float) -> Pipeline:
    """A gateway that begins when the recording has joined."""
    gateway = {"wait_for_subscribers": 1, "wait_ms_max": 60_000, "synthetic": synthetic}
    return Pipeline(make_config(gateway=gateway))


@contextmanager
def recording(pipeline: Pipeline, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A recording that goes on until it is ended; the block may end it."""
    command = [sys.executable, "-m", "common", "record", str(path), "--json"]
    run = ("--config", str(pipeline.config_path), "--run-dir", str(pipeline.directory))
    with subprocess.Popen(
        [*command, *run], cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read(path: Path) -> list[Update]:
    """What the recorded feed finds in a file."""
    feed = make_recorded_feed(path, speed=0.0)
    feed.start(START_NS)
    try:
        return drain(feed)
    finally:
        feed.close()


def test_recording_ends_with_the_feed_and_has_all_of_it(tmp_path: Path) -> None:
    """As many lines as the gateway had updates; nothing was lost; the file is not recorded over."""
    path = tmp_path / "capture.gz"
    with make_gateway(rate=20_000, tick_count_max=UPDATE_COUNT) as pipeline:
        pipeline.start("gateway")
        ended = pipeline.run("record", str(path), "--json")
        again = pipeline.run("record", str(path))

    report = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert (report["lines"], report["lost"], report["has_feed_ended"]) == (UPDATE_COUNT, 0, True)
    assert len(read(path)) == UPDATE_COUNT
    assert again.returncode == 78
    assert "a recording never appends" in again.stderr


@pytest.mark.parametrize("name", ["capture", "capture.gz"])
def test_ctrl_c_ends_a_recording_well(tmp_path: Path, name: str) -> None:
    """Exit code 0, and the file has what the report says."""
    path = tmp_path / name
    with make_gateway(rate=5_000) as pipeline:
        pipeline.start("gateway")
        with recording(pipeline, path) as process:
            eventually(lambda: path.is_file() and path.stat().st_size > 1_000)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert len(read(path)) == json.loads(output)["lines"] > 0


@pytest.mark.parametrize("name", ["capture", "capture.gz"])
def test_killed_recording_is_readable(tmp_path: Path, name: str) -> None:
    """SIGKILL may cost the newest seconds, not what was flushed before."""
    path = tmp_path / name
    with make_gateway(rate=5_000) as pipeline:
        pipeline.start("gateway")
        with recording(pipeline, path) as process:
            eventually(lambda: path.is_file() and path.stat().st_size > 10_000)
            process.kill()

    assert len(read(path)) > 50
