"""One pipeline that runs while all these tests do, for those that do not disturb it; and a look at what they left."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.eventually import eventually
from support.nursery import close_nursery
from support.pipeline import Pipeline
from support.plain_client import PlainClient

# Inherited by every process that a test starts, and by the children of those.
MARK = "TICK_TESTS_SESSION"


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No process outlives the tests, whoever started it."""
    os.environ[MARK] = uuid.uuid4().hex
    mark = f"{MARK}={os.environ[MARK]}".encode()

    yield

    close_nursery()
    survivors: dict[int, str] = {}
    try:
        # A process that was told to end by its parent may need a moment to be gone.
        eventually(lambda: not _find_marked(mark), timeout_s=5.0)
    except AssertionError:
        survivors = _find_marked(mark)
        for pid in survivors:
            os.kill(pid, signal.SIGKILL)
    assert not survivors, f"expected no process to be left behind, found {survivors}"


@pytest.fixture(scope="session")
def pipeline() -> Iterator[Pipeline]:
    """Exchange, executor and gateway, ready. Shared: a test must neither stop them nor count on being alone."""
    with Pipeline() as running:
        running.start("exchange", "executor", "gateway")
        running.wait_tradable()
        yield running


@pytest.fixture
def client(pipeline: Pipeline) -> Iterator[PlainClient]:
    """Somebody else's program, beside the shared pipeline."""
    with PlainClient(pipeline.endpoint) as plain:
        yield plain


def _find_marked(mark: bytes) -> dict[int, str]:
    """Processes with the mark in their environment, by pid, with their command line."""
    found = {}
    for path in Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # multiprocessing keeps one helper, which ends with the interpreter that runs these tests.
            is_ours = mark in (path / "environ").read_bytes().split(b"\0") and "resource_tracker" not in command
            if is_ours:
                found[int(path.name)] = command
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found
