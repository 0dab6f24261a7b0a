"""Reads the status files that every process keeps in the run directory."""

import os

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.events.system import ProcessReported, ProcessState
from common.run_directory import RunDirectory

_decode = msgspec.json.Decoder(ProcessReported).decode


def read_reports(run_directory: RunDirectory) -> list[ProcessReported]:
    """The last report of each process that ever ran there; a file that cannot be read is left out."""
    reports = []
    for path in sorted(run_directory.file("status", "").glob("*.json")):
        try:
            reports.append(_decode(path.read_bytes()))
        except (OSError, msgspec.DecodeError):
            continue
    return reports


def condition(report: ProcessReported, now_ns: int, silence_ms_max: int) -> str:
    """How a process is, in a word or two: what it says, unless it cannot say it any more."""
    if report.state in (ProcessState.STOPPED, ProcessState.FAILED):
        return report.state.value
    if not _is_alive(report.pid):
        return "dead"
    age_ns = now_ns - report.timestamp_ns
    if age_ns > silence_ms_max * NS_PER_MS:
        return f"silent for {age_ns / NS_PER_S:.0f} s"
    return report.state.value


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
