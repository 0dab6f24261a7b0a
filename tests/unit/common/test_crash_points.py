"""Places where a test may kill a process."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.crash_points import CRASH_POINTS, CRASH_VARIABLE, make_crash_point
from common.errors import ConfigError

ROOT = Path(__file__).parents[3]
PROCESSES = ("strategy", "executor", "exchange")


def test_every_point_in_the_code_is_registered_and_the_other_way_round() -> None:
    """A fault at a place that is never passed would be a test of nothing."""
    used = [
        name
        for process in PROCESSES
        for path in sorted((ROOT / process).rglob("*.py"))
        for name in re.findall(r'crash_point\("([^"]+)"\)', path.read_text())
    ]

    assert sorted(used) == sorted(CRASH_POINTS)


def test_process_is_killed_at_the_passage_that_the_variable_names() -> None:
    """Passages of other places do not count."""
    kills: list[str] = []
    crash_point = make_crash_point({CRASH_VARIABLE: "executor.journal.written:2"}, lambda: kills.append("killed"))

    crash_point("executor.journal.written")
    crash_point("executor.journal.writing")
    assert kills == []
    crash_point("executor.journal.written")
    crash_point("executor.journal.written")

    assert kills == ["killed"]


def test_without_the_variable_a_point_is_one_empty_function() -> None:
    """Off by default and free of cost: nothing is looked up, compared or counted."""
    crash_point = make_crash_point({}, lambda: None)

    crash_point("no such place")

    assert crash_point.__code__.co_consts in {(None,), ()}
    assert crash_point.__code__.co_names == ()


@pytest.mark.parametrize("text", ["executor.journal.written", "nowhere:1", "executor.journal.written:0", ":", "a:b:c"])
def test_wrong_variable_is_refused_with_the_names_there_are(text: str) -> None:
    """A typing error must not make a test pass by killing nothing."""
    with pytest.raises(ConfigError, match=r"NAME:K.*exchange\.answer\.sent"):
        make_crash_point({CRASH_VARIABLE: text}, lambda: None)


@pytest.mark.processes
def test_real_process_ends_by_sigkill() -> None:
    """No handler, no flush, no goodbye."""
    code = "from common.crash_points import crash_point as c; n = 'strategy.signal.sent'; c(n); print('alive'); c(n)"
    environment = {**os.environ, CRASH_VARIABLE: "strategy.signal.sent:2"}

    ended = subprocess.run([sys.executable, "-uc", code], cwd=ROOT, env=environment, capture_output=True, check=False)

    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == [b"alive"]
