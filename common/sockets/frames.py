"""Frames of a subscribing socket inside an asyncio loop, without a task that polls."""

import asyncio
from collections.abc import Callable

import zmq

from common.sockets.factory import Socket

FRAMES_PER_TURN = 128  # then other tasks of the loop have their turn


class FrameReader:
    """Calls back with what waits, as soon as something does.

    libzmq's file descriptor is edge-triggered: it says that something happened, not that something is there. So it is
    read until nothing is left, and looked at again when reading goes on after a pause.
    """

    def __init__(self, socket: Socket, on_frames: Callable[[list[bytes]], bool]) -> None:
        """Prepare.

        Args:
            socket: Where to read.
            on_frames: Takes the frames; tells whether it takes more at once, or `resume` will be called.
        """
        self._socket = socket
        self._on_frames = on_frames
        self._is_paused = False
        self._is_scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to read in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(int(self._socket.getsockopt(zmq.FD)), self._read)
        self._schedule()

    def resume(self) -> None:
        """Go on after `on_frames` said that it takes no more."""
        self._is_paused = False
        self._schedule()

    def look(self) -> None:
        """Read what is there: whatever else is done with a socket may swallow its descriptor's edge."""
        self._schedule()

    def close(self) -> None:
        """Read no more. The socket belongs to whoever made it."""
        if self._loop is not None:
            self._loop.remove_reader(int(self._socket.getsockopt(zmq.FD)))
            self._loop = None

    def _schedule(self) -> None:
        if not self._is_scheduled and self._loop is not None:
            self._is_scheduled = True
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        self._is_scheduled = False
        self._read()

    def _read(self) -> None:
        if self._is_paused or self._loop is None:
            return
        frames: list[bytes] = []
        receive, no_wait = self._socket.recv, zmq.DONTWAIT
        try:
            while len(frames) < FRAMES_PER_TURN:
                frames.append(receive(no_wait))
        except zmq.Again:
            pass
        else:
            self._schedule()
        if frames and not self._on_frames(frames):
            self._is_paused = True
