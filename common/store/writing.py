"""What every format's writer needs: to be the only one, and to leave others room on the disk."""

import os
from pathlib import Path

from common.run_directory import Lock
from common.store.contract import StoreConfigError, StoreFullError


def take_lock(path: Path, store: Path, now_ns: int) -> Lock:
    """Become the one process that writes a store; `path` is the file that says so.

    Raises:
        StoreConfigError: Another process is, or the file cannot be made.
    """
    lock = Lock(path)
    try:
        is_ours = lock.acquire(now_ns)
    except OSError as error:
        raise StoreConfigError(
            f"store {store}: expected a folder that this user can write, {error.strerror}: {path.parent}"
        ) from error
    if not is_ours:
        holder = lock.holder()
        who = "another process" if holder is None else f"pid {holder.pid}"
        raise StoreConfigError(f"store {store}: is written by {who}; stop it, or open it for reading")
    return lock


def require_room(store: Path, folder: Path, bytes_min: int) -> None:
    """Leave so many bytes of a disk free.

    Raises:
        StoreFullError: There are fewer.
    """
    if not bytes_min:
        return
    disk = os.statvfs(folder)
    if (free := disk.f_bavail * disk.f_frsize) < bytes_min:
        raise StoreFullError(
            f"store {store}: expected {bytes_min} bytes to be left free, were {free}; "
            "make room, or prune it with `tickpulse store prune`"
        )
