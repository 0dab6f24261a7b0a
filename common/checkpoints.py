"""Moves what SQLite's write-ahead log holds into its database, in a thread, so that no write waits for the disk.

By itself SQLite does it inside a commit, every 1,000 pages: 3 ms in the middle of the order path, for each 300th order.
"""

import sqlite3
import threading
from pathlib import Path

from common.clock import NS_PER_MS, NS_PER_S

INTERVAL_NS = 200 * NS_PER_MS
LOG_BYTES_MIN = 1 << 20  # smaller logs are left alone: each checkpoint syncs the disk
LOG_BYTES_MAX = 64 << 20  # larger ones are made to begin anew, by `catch_up`


class BackgroundCheckpoints:
    """The checkpoints of one database. What is in the log already survives the death of the process."""

    def __init__(self, connection: sqlite3.Connection, path: Path, log_bytes_max: int = LOG_BYTES_MAX) -> None:
        """Take the checkpoints over from the connection that writes; a log above the size is made to begin anew."""
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.error: sqlite3.Error | None = None
        self._path = path
        self._log_bytes_max = log_bytes_max
        self._connection = connection
        self._is_log_long = False
        self._log = path.with_name(f"{path.name}-wal")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"checkpoints {path.name}", daemon=True)
        self._thread.start()

    def catch_up(self) -> None:
        """Move the rest where the log only grows; whoever writes without a pause calls it between transactions.

        The log begins anew when all of it was moved. While it is being moved more comes in, so the thread alone never
        gets there; right after it, little is left.

        Raises:
            sqlite3.Error: The disk or the file refuses.
        """
        if self._is_log_long:
            self._is_log_long = False
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """End the thread. The last connection to close makes the last checkpoint."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            while not self._stop.wait(INTERVAL_NS / NS_PER_S):
                if self._log.stat().st_size >= LOG_BYTES_MIN:
                    # PASSIVE: never makes a writer or a reader wait; it does what can be done now.
                    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    if pages * page_bytes > self._log_bytes_max:
                        # What came meanwhile: so little is left to whoever writes.
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                        self._is_log_long = True
        except (sqlite3.Error, OSError) as error:
            self.error = error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError(str(error))
        finally:
            connection.close()
