"""A proxy between two ends of a Unix socket, which can cut, hold, delay, drop one direction and flip bits.

It knows nothing of ZeroMQ: it passes bytes on, or does not, as a network would.
"""

import contextlib
import enum
import selectors
import socket
import threading
from pathlib import Path

from common.clock import NS_PER_MS, NS_PER_S, SystemClock

CHUNK_BYTES = 65_536
LOOK_NS = 20 * NS_PER_MS
DELAY_NS = 50 * NS_PER_MS


class Trouble(enum.StrEnum):
    """What the proxy does to the bytes."""

    NONE = "none"
    CUT = "cut"  # connections are closed, new ones refused
    HOLD = "hold"  # nothing passes; what comes meanwhile waits
    DELAY = "delay"  # everything passes later
    DROP_REQUESTS = "drop_requests"  # what goes to the bound end is thrown away
    DROP_ANSWERS = "drop_answers"  # what comes back from it is thrown away
    FLIP = "flip"  # a bit in each chunk is another one


class _Link:
    """One connection: the end that came to us, and ours to the other one."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far

    def other(self, end: socket.socket) -> socket.socket:
        return self.far if end is self.near else self.near

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Proxy:
    """Listens at one path and connects to another, in a thread."""

    def __init__(self, listen_path: Path, target_path: Path) -> None:
        self.trouble = Trouble.NONE
        self._listen_path = listen_path
        self._target_path = target_path
        self._links: dict[socket.socket, _Link] = {}
        self._selector = selectors.DefaultSelector()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy {listen_path.name}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._listen_path))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """End the thread and every connection."""
        self._is_over.set()
        self._thread.join()
        for link in set(self._links.values()):
            link.close()
        self._listener.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_over.is_set():
            if self.trouble is Trouble.CUT:
                self._cut()
            if self.trouble is Trouble.HOLD:
                SystemClock.sleep_ns(LOOK_NS)
                continue
            for key, _ in self._selector.select(LOOK_NS / NS_PER_S):
                end = key.fileobj
                if end is self._listener:
                    self._accept()
                elif isinstance(end, socket.socket) and end in self._links:
                    self._pass_on(end, self._links[end])

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.socket(socket.AF_UNIX)
        try:
            if self.trouble is Trouble.CUT:
                raise ConnectionRefusedError
            far.connect(str(self._target_path))
        except OSError:
            near.close()
            far.close()
            return
        link = _Link(near, far)
        for end in (near, far):
            self._links[end] = link
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket, link: _Link) -> None:
        try:
            chunk = end.recv(CHUNK_BYTES)
            if not chunk:
                self._drop(link)
                return
            trouble, is_request = self.trouble, end is link.near
            if trouble is Trouble.DELAY:
                SystemClock.sleep_ns(DELAY_NS)
            if trouble is (Trouble.DROP_REQUESTS if is_request else Trouble.DROP_ANSWERS):
                return
            if trouble is Trouble.FLIP:
                middle = len(chunk) // 2
                chunk = chunk[:middle] + bytes([chunk[middle] ^ 1]) + chunk[middle + 1 :]
            link.other(end).sendall(chunk)
        except OSError:
            self._drop(link)

    def _cut(self) -> None:
        for link in set(self._links.values()):
            self._drop(link)

    def _drop(self, link: _Link) -> None:
        for end in (link.near, link.far):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            self._links.pop(end, None)
        link.close()
