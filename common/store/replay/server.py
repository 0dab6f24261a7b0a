"""Answers programs that tell a replay what to do, on the channel `replay`."""

from collections.abc import Callable
from typing import Any

from common.clock import Clock
from common.errors import InvalidValueError, WireError, WireFault
from common.sockets.factory import Socket
from common.sockets.transfer import answer, take_request
from common.store.replay.control import answer_for
from common.store.replay.player import Player
from common.wire import codec

REQUESTS_PER_TURN_MAX = 16


class ControlServer:
    """Takes what waits; never blocks."""

    def __init__(
        self, socket: Socket, player: Player[Any], clock: Clock, on_fault: Callable[[WireError], object]
    ) -> None:
        """Prepare.

        Args:
            socket: The answering end of the channel `replay`.
            player: Who is told.
            clock: Dates the answers.
            on_fault: Told of each frame that is no request to a replay.
        """
        self._socket = socket
        self._player = player
        self._clock = clock
        self._on_fault = on_fault

    def serve(self, clock_ns: int) -> None:
        """Answer the requests that wait; `clock_ns` is on the clock of the player."""
        for _ in range(REQUESTS_PER_TURN_MAX):
            taken = take_request(self._socket)
            if taken is None:
                return
            envelope, frame = taken
            try:
                reply = answer_for(self._player, codec.decode(frame), clock_ns, self._clock.now_ns())
            except InvalidValueError as error:
                self._refuse(WireError(WireFault.UNEXPECTED, str(error)), frame)
            except WireError as error:
                self._refuse(error, frame)
            else:
                answer(self._socket, envelope, codec.encode(reply))

    def _refuse(self, error: WireError, frame: bytes) -> None:
        error.frame = frame
        self._on_fault(error)
