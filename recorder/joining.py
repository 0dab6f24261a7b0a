"""Tells the gateway that the recorder listens, so that a feed that waits for its subscribers waits for the log, too."""

from common.clock import NS_PER_S
from common.errors import WireError
from common.events.base import DRAFT
from common.events.market import SnapshotReported, SnapshotRequested
from common.process import Process
from common.sockets.transfer import offer, take_answer
from common.wire import codec

ASK_AGAIN_NS = NS_PER_S // 2
PATIENCE_NS = 2 * NS_PER_S  # with an executor or an exchange that is not there
OTHERS = ("events", "executions")


class Joining:
    """Asks each life of the gateway for its snapshot. Its values are not used: only what was sent is recorded."""

    def __init__(self, process: Process) -> None:
        """Connect."""
        self._socket = process.sockets.connect_requester(process.endpoint("snapshots"))
        self._process = process
        self._request_number = 0
        self._joined_epoch = 0
        self._ask_again_ns = 0
        self._first_heard_ns = 0

    @property
    def is_joined(self) -> bool:
        """Tell whether a gateway has answered."""
        return self._joined_epoch > 0

    def look(self, heard: dict[str, tuple[str, int]], now_ns: int) -> None:
        """Take an answer; ask, once the other channels are heard as well.

        Args:
            heard: By channel, the life whose heartbeats come.
            now_ns: Monotonic time.
        """
        if "market" not in heard or heard["market"][1] <= self._joined_epoch:
            return
        self._first_heard_ns = self._first_heard_ns or now_ns
        self._take_answer()
        is_alone = now_ns - self._first_heard_ns >= PATIENCE_NS
        if now_ns < self._ask_again_ns or not (is_alone or all(channel in heard for channel in OTHERS)):
            return
        self._request_number += 1
        self._ask_again_ns = now_ns + ASK_AGAIN_NS
        process = self._process
        request = SnapshotRequested(
            **DRAFT,
            timestamp_ns=process.clock.now_ns(),
            subscriber=process.source,
            request_id=f"{process.epoch}-{self._request_number}",
        )
        offer(self._socket, codec.encode(request))

    def _take_answer(self) -> None:
        frame = take_answer(self._socket) if self._request_number else None
        if frame is None:
            return
        try:
            snapshot = codec.decode(frame)
        except WireError as error:
            self._process.faults.report("snapshots", error)
            return
        if isinstance(snapshot, SnapshotReported):
            self._joined_epoch = max(self._joined_epoch, snapshot.epoch)
