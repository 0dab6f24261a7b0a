"""Gives the processor to those who trade."""

import os
from pathlib import Path

THREADS = Path("/proc/self/task")


def step_back(nice: int) -> None:
    """Make all threads that there are, and those that they will start, nicer to others; 0 leaves them as they are.

    On Linux every thread has a niceness of its own, that of libzmq too, and a batch thread that wakes up does not take
    the processor from whoever has it.
    """
    if not nice:
        return
    if not THREADS.is_dir():
        os.nice(nice)
        return
    for thread in sorted(int(path.name) for path in THREADS.iterdir()):
        os.setpriority(os.PRIO_PROCESS, thread, nice)
        os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
