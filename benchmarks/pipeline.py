"""The real pipeline in a temporary run directory: processes as a user would start them, from one config file."""

import json
from typing import Any

from benchmarks.stage import Stage
from common.clock import SystemClock
from common.config import Config
from common.errors import FatalError
from common.events.base import DRAFT
from common.events.market import SnapshotRequested
from common.events.system import ProcessReported, ProcessState
from common.run_directory import RunDirectory
from common.sockets.factory import Sockets
from common.sockets.transfer import Waiter, offer
from common.wire import codec
from monitor.status import read_reports

PROBE = "probe"
READY_S_MAX = 30.0
ANSWER_MS_MAX = 5_000
# The exchange, the strategy, and we, who give the start.
SUBSCRIBERS = 3
INSTRUMENT = {
    "exchange": "simulated",
    "symbol": "BTC/USDT",
    "raw_symbol": "BTCUSDT",
    "tick_size": "0.01",
    "lot_size": "0.00001",
    "min_notional": "5",
    "max_notional": "100000",
}


class Pipeline:
    """Processes with their config, on a stage."""

    def __init__(self, stage: Stage) -> None:
        self.run_directory = RunDirectory(stage.directory).create()
        self.result_path = stage.directory / "arrivals.json"
        self._stage = stage
        self._config_path = stage.directory / "config.json"

    def configure(
        self,
        probe: str,
        parameters: dict[str, Any],
        gateway: dict[str, Any],
        *,
        is_recorded: bool = False,
        is_taped: bool = True,
        **tables: Any,
    ) -> None:
        """Write the config file.

        Args:
            probe: Class in `benchmarks.probe`.
            parameters: Its parameters.
            gateway: The table of the gateway, but for when it starts.
            is_recorded: Whether a recorder runs beside the pipeline.
            is_taped: Whether the strategy notes what it is given and decides.
            **tables: Further tables.
        """
        self._recorders = ("recorder",) if is_recorded else ()
        subscribers = SUBSCRIBERS + len(self._recorders)
        tree = {
            "run": {"directory": str(self.run_directory.path), "synchronous": "normal"},
            "instruments": [INSTRUMENT],
            "gateway": {**gateway, "wait_for_subscribers": subscribers, "wait_ms_max": int(READY_S_MAX * 4_000)},
            "strategy": {
                PROBE: {
                    "strategy": f"benchmarks.probe:{probe}",
                    "parameters": parameters,
                    # A tick that comes late must be measured as late, not left out as stale.
                    "tick_age_ms_max": 600_000,
                    "tape": is_taped,
                }
            },
            **tables,
        }
        self._config_path.write_text(json.dumps(tree, indent=2))
        self.config = Config(tree, str(self._config_path))

    def start(self) -> None:
        """Start all processes and wait until each says that it is ready. The feed waits for `broadcast`."""
        for name in (*self._recorders, "gateway", "exchange", "executor"):
            self._start(name, name)
        self._start("strategy", "strategy", PROBE)
        expected = (*self._recorders, "gateway", "exchange", "executor", PROBE)
        self._stage.wait(lambda: all(map(self._is_ready, expected)), "a ready pipeline", READY_S_MAX)

    def broadcast(self, timeout_s: float) -> None:
        """Let the feed run, until it has ended and every tick has arrived or is known to be lost."""
        self.give_start()
        self._stage.wait(self._is_all_received, "the last tick", timeout_s)

    def give_start(self) -> None:
        """Let the feed run: take the last of the snapshots that it waits for, now that nobody is still connecting."""
        request = SnapshotRequested(**DRAFT, timestamp_ns=SystemClock.now_ns(), subscriber="bench", request_id="start")
        with Sockets(self.config.settings().sockets) as sockets:
            socket = sockets.connect_requester(self.config.endpoint("snapshots"))
            if not (offer(socket, codec.encode(request)) and Waiter(socket).wait(ANSWER_MS_MAX)):
                raise FatalError(f"benchmark: expected a snapshot from the gateway within {ANSWER_MS_MAX} ms")

    def wait_for_acknowledgements(self, timeout_s: float) -> None:
        """Wait until the strategy knows the end of each of its signals."""
        self._stage.wait(lambda: not self.counters(PROBE).get("signals_pending"), "the last acknowledgement", timeout_s)

    def stop(self, *names: str) -> None:
        """End processes in order."""
        for name in names:
            self._stage.stop(name)

    def counters(self, name: str) -> dict[str, int]:
        """What a process has counted, as it reports it."""
        report = self.report(name)
        return {} if report is None else report.counters

    def report(self, name: str) -> ProcessReported | None:
        """The newest report of a process."""
        reports = {report.source: report for report in read_reports(self.run_directory)}
        return reports.get(name)

    def _start(self, name: str, *arguments: str) -> None:
        self._stage.start(name, *arguments, "--config", str(self._config_path))

    def _is_ready(self, name: str) -> bool:
        report = self.report(name)
        return report is not None and report.state is ProcessState.READY

    def _is_all_received(self) -> bool:
        gateway = self.counters("gateway")
        if not gateway.get("feed_ended"):
            return False
        strategy = self.counters(PROBE)
        arrived = strategy.get("ticks_received", 0) + strategy.get("ticks_dropped", 0)
        return arrived >= gateway["ticks_published"]
