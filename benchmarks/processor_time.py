"""How busy a process is, which no queue shows before it is too late: it is full when its main thread is."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from common.clock import NS_PER_S


class ProcessorTime(msgspec.Struct, frozen=True):
    """Time on a processor, ns; or, between two looks, the share of the time that passed."""

    main_thread: float  # runs the loop; one core is all it can have
    threads: float  # all, those of libzmq included


def read_processor_time(pid: int) -> ProcessorTime | None:
    """What a process has used, ns; None where the system does not tell, or it has ended."""
    try:
        used = {path.parent.name: _used_ns(path) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")}
        return ProcessorTime(main_thread=used[str(pid)], threads=sum(used.values()))
    except (OSError, KeyError):
        return None


def find_shares(
    before: Mapping[str, ProcessorTime], after: Mapping[str, ProcessorTime], elapsed_s: float
) -> dict[str, ProcessorTime]:
    """The share of a core that each process used, for those that were seen at both looks."""
    elapsed_ns = elapsed_s * NS_PER_S
    return {
        name: ProcessorTime(
            main_thread=round((after[name].main_thread - time.main_thread) / elapsed_ns, 3),
            threads=round((after[name].threads - time.threads) / elapsed_ns, 3),
        )
        for name, time in before.items()
        if name in after
    }


def _used_ns(path: Path) -> int:
    # Its first field is the time on a processor, ns: proc(5).
    return int(path.read_text(encoding="utf-8").split()[0])
