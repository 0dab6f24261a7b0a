"""The host: what it costs the hot path, what it needs, and what it loads."""

import asyncio
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from support.message_builders import make_tick
from support.worker_builders import Desk

import workers.service
from common.bus.selection import selector_for
from common.bus.worker import EventWorker
from common.errors import ConfigError
from workers.config import SHIPPED
from workers.service import load_worker

ROOT = Path(__file__).resolve().parents[3]
ALL = (*SHIPPED, "challenge")


@pytest.mark.parametrize("name", ALL)
def test_no_worker_of_ours_asks_for_ticks(tmp_path: Path, name: str) -> None:
    """So that the gateway sends none to this process."""
    worker = load_worker(name)()
    state = tmp_path / "state"
    state.mkdir()

    async def live() -> None:
        await worker.start(Desk(state).context)
        await worker.stop()

    asyncio.run(live())

    if isinstance(worker, EventWorker):
        assert not selector_for(worker.interests).selects(make_tick())


def test_worker_that_nobody_offers_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(ConfigError, match=r"expected one of audit, challenge, notifications, positions, risk_monitor"):
        load_worker("nobody")


def test_entry_point_that_is_no_worker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point can name anything."""
    point = EntryPoint("odd", "workers.config:WorkersConfig", "tickpulse.workers")
    monkeypatch.setattr(workers.service, "entry_points", lambda group: [point])  # noqa: ARG005  # asked by keyword

    with pytest.raises(ConfigError, match=r"expected a class below common\.bus\.worker\.Worker"):
        load_worker("odd")


def test_worker_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional; who does not enable the worker does not need it."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "workers.notifications", raising=False)

    with pytest.raises(ConfigError, match=r"'notifications': expected the library httpx.*tickpulse\[workers\]"):
        load_worker("notifications")


@pytest.mark.parametrize("command", ["workers", "positions", "pnl", "trades", "trace", "challenge"])
def test_commands_are_there_without_the_extra(tmp_path: Path, command: str) -> None:
    """Only `tickpulse workers` needs it, and says so when it runs: exit 78."""
    arguments = ["--run-dir", str(tmp_path), *(["x"] if command == "trace" else [])]
    code = (
        "import sys; sys.modules.update(apscheduler=None, httpx=None); "
        f"from common.cli import main; main({[command, *arguments]!r})"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == (78 if command == "workers" else 3), done.stderr
    assert ("pip install 'tickpulse[workers]'" in done.stderr) == (command == "workers")
    assert "Traceback" not in done.stderr


def test_workers_are_named_once() -> None:
    """A name in the config is the name in logs, metrics and files."""
    assert [load_worker(name).worker_name for name in ALL] == list(ALL)
