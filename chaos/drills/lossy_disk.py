"""A disk that loses its power or fails, under real processes: what was written and never synced is gone.

`lossy_disk.c` is loaded into a process and keeps, beside each file, what was synced of it.
"""

import enum
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random

from common.errors import FatalError

SOURCE = Path(__file__).with_name("lossy_disk.c")
SECTOR_BYTES = 512  # what a disk writes whole
COMPILE_S_MAX = 60.0
# How many of the sectors that were written and not synced are on the disk all the same.
SURVIVING = (0.0, 0.0, 0.5, 0.9)


class Failure(enum.Enum):
    """What a disk does to a process."""

    NOTHING = b"\0"
    SYNC = b"s"  # refuses every sync, with EIO
    WRITE = b"w"  # refuses every write, with EIO
    POWER = b"p"  # ends the process at its next sync, before that has happened


@cache
def missing_reason() -> str | None:
    """Why there can be no such disk here; None where there can."""
    if sys.platform != "linux":
        return "it needs Linux"
    return None if shutil.which("cc") else "it needs a C compiler, found no `cc`"


class LossyDisk:
    """The disk below one directory, for any number of processes that share none of its files."""

    def __init__(self, directory: Path, live: Path) -> None:
        """Build it.

        Args:
            directory: Where its own files go.
            live: The directory whose files it keeps; processes name it by this very path.

        Raises:
            FatalError: It could not be compiled.
        """
        self.live = live
        self.safe = directory / "safe"
        self.safe.mkdir(parents=True)
        self._library = directory / "lossy_disk.so"
        self._directory = directory
        command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl", "-lpthread"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=COMPILE_S_MAX)
        if done.returncode:
            raise FatalError(f"lossy disk: expected to be compiled, {done.stderr.decode(errors='replace').strip()}")

    def environment(self, name: str) -> Mapping[str, str]:
        """What a process needs to be started with; its disk is in order then."""
        switch = self._switch(name)
        switch.write_bytes(Failure.NOTHING.value)
        return {
            "LD_PRELOAD": str(self._library),
            "LOSSY_DISK_LIVE": str(self.live),
            "LOSSY_DISK_SAFE": str(self.safe),
            "LOSSY_DISK_SWITCH": str(switch),
        }

    def fail(self, name: str, failure: Failure) -> None:
        """Fail from now on, until the process is started again."""
        with self._switch(name).open("r+b") as switch:  # in place: the process has it mapped
            switch.write(failure.value)

    def lose_power(self, names: set[str], random: Random | None = None) -> int:
        """Cut files back to what was synced; whoever writes them is dead.

        Args:
            names: Of the files, those that were removed included.
            random: Lets some sectors survive that were not synced; None for none.

        Returns:
            The number of bytes that were written and are gone.
        """
        share = 0.0 if random is None else random.choice(SURVIVING)
        lost = 0
        for name in sorted(names):
            live, safe = self.live / name, self.safe / name
            before = live.read_bytes() if live.exists() else b""
            if not safe.exists():
                live.unlink(missing_ok=True)
                lost += len(before)
                continue
            after = safe.read_bytes() if random is None else _blend(safe.read_bytes(), before, share, random)
            live.write_bytes(after)
            safe.write_bytes(after)
            lost += _count_differing(before, after)
        return lost

    def _switch(self, name: str) -> Path:
        return self._directory / f"{name}.switch"


def _blend(safe: bytes, live: bytes, share: float, random: Random) -> bytes:
    """What is on the disk: what was synced, and by chance sectors of what was not."""
    blended = bytearray(safe)
    for start in range(0, len(live), SECTOR_BYTES):
        sector = live[start : start + SECTOR_BYTES]
        if sector != safe[start : start + SECTOR_BYTES] and random.random() < share:
            blended.extend(bytes(max(0, start - len(blended))))
            blended[start : start + len(sector)] = sector
    return bytes(blended)


def _count_differing(before: bytes, after: bytes) -> int:
    return sum(
        len(before[start : start + SECTOR_BYTES])
        for start in range(0, len(before), SECTOR_BYTES)
        if before[start : start + SECTOR_BYTES] != after[start : start + SECTOR_BYTES]
    )
