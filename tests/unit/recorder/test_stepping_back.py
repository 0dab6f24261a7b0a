import subprocess
import sys

import pytest

from recorder.stepping_back import THREADS

SCRIPT = """
import os, threading
from recorder.stepping_back import THREADS, step_back

end = threading.Event()
threading.Thread(target=end.wait).start()
step_back({nice})
threading.Thread(target=end.wait).start()
for path in THREADS.iterdir():
    thread = int(path.name)
    print(os.getpriority(os.PRIO_PROCESS, thread), os.sched_getscheduler(thread) == os.SCHED_BATCH)
end.set()
"""


@pytest.mark.skipif(not THREADS.is_dir(), reason="only Linux tells of each thread")
@pytest.mark.parametrize(("nice", "expected"), [(7, "7 True"), (0, "0 False")])
def test_every_thread_steps_back_and_so_do_later_ones(nice: int, expected: str) -> None:
    """One that went on as before would be the one that takes the processor from whoever trades."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(nice=nice)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines() == [expected] * 3
