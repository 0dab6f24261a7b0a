"""A process's way into the market channel: subscribe, prove the subscription active, take a snapshot, then listen.

The order matters. A message that comes after the snapshot was asked for waits in the socket; one that came before is in
the snapshot. So nothing is missed, and what is older than the snapshot is dropped.
"""

from collections.abc import Callable, Iterable

from common.clock import NS_PER_S, Clock
from common.errors import WireError
from common.events.base import DRAFT, Message
from common.events.market import SnapshotReported, SnapshotRequested, Tick
from common.log import FaultLog, Log
from common.sockets.factory import Sockets
from common.sockets.transfer import drain, offer, take_answer
from common.wire import codec
from common.wire.sequence import Gap
from common.wire.subscriber import Subscriber

ASK_AGAIN_NS = NS_PER_S // 2
GAP_LOG_INTERVAL_NS = NS_PER_S
OnMessage = Callable[[Message], object]
OnSnapshot = Callable[[Tick], object]


class MarketChannel:
    """The receiving end of market data, with late joining and loss detection."""

    def __init__(
        self,
        sockets: Sockets,
        *,
        market_endpoint: str,
        snapshots_endpoint: str,
        patterns: Iterable[str],
        name: str,
        epoch: int,
        clock: Clock,
        log: Log,
        faults: FaultLog | None = None,
    ) -> None:
        """Connect; `name` and `epoch` say who listens."""
        faults = faults or FaultLog(log)
        self.subscriber = Subscriber(patterns, on_gap=self._on_gap, on_fault=faults.on("market"))
        self.socket = sockets.connect_subscriber(market_endpoint, self.subscriber.prefixes())
        self.snapshot_socket = sockets.connect_requester(snapshots_endpoint)
        self.is_joined = False
        self.ticks_lost = 0
        self._name = name
        self._epoch = epoch
        self._clock = clock
        self._log = log
        self._request_number = 0
        self._ask_again_ns = 0
        self._is_asking = False
        self._next_gap_log_ns = 0

    @property
    def is_listening(self) -> bool:
        """Tell whether frames are read to find the first heartbeat; then they wait until the snapshot is there."""
        return not self.is_joined and not self.subscriber.heartbeats

    def drain(self, on_message: OnMessage, on_snapshot: OnSnapshot, count_max: int) -> int:
        """Hand over the messages that wait now, at most so many frames, and tell how many frames there were."""
        if self._is_asking and (frame := take_answer(self.snapshot_socket)) is not None:
            self._on_snapshot(frame, on_snapshot)
            return 0  # who has just joined decides first whether it is ready for more
        if self.is_joined:
            accept = self.subscriber.accept

            def hand_over(frame: bytes) -> None:
                message = accept(frame)
                if message is not None:
                    on_message(message)

            count = drain(self.socket, hand_over, count_max)
        else:
            count = self._wait_for_heartbeat(count_max)
        if not self.is_joined or self.subscriber.has_lost_tail:
            self._ask()
        return count

    def counters(self) -> dict[str, int]:
        """What the channel brought and lost, by name."""
        counters = {f"market_{name}": count for name, count in self.subscriber.counters().items()}
        return {"ticks_dropped": self.ticks_lost, **counters}

    def _wait_for_heartbeat(self, count_max: int) -> int:
        # Its subscription was sent last, so when it is active all are. What is read before is in the snapshot.
        return drain(self.socket, self.subscriber.accept, count_max) if self.is_listening else 0

    def _ask(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if not self.subscriber.heartbeats or now_ns < self._ask_again_ns:
            return
        self._request_number += 1
        request = SnapshotRequested(
            **DRAFT, timestamp_ns=self._clock.now_ns(), subscriber=self._name, request_id=self._request_id()
        )
        self._is_asking = True
        self._ask_again_ns = now_ns + ASK_AGAIN_NS
        offer(self.snapshot_socket, codec.encode(request))

    def _on_snapshot(self, frame: bytes, on_snapshot: OnSnapshot) -> None:
        try:
            snapshot = codec.decode(frame)
        except WireError as error:
            self.subscriber.counts[error.fault.value] += 1
            return
        if not isinstance(snapshot, SnapshotReported) or snapshot.request_id != self._request_id():
            return
        news = self.subscriber.take_snapshot(
            snapshot.source, snapshot.epoch, snapshot.values, is_join=not self.is_joined
        )
        self._is_asking = False
        if not self.subscriber.has_lost_tail:
            self._ask_again_ns = 0  # the next loss may be asked about at once
        if not self.is_joined:
            # What was read while joining is in the snapshot; it counts as neither received nor lost.
            self.subscriber.received = self.subscriber.lost = self.ticks_lost = 0
            self.is_joined = True
        for value in news:
            if value.tick is not None:
                on_snapshot(value.tick)

    def _request_id(self) -> str:
        return f"{self._epoch}-{self._request_number}"

    def _on_gap(self, topic: str, gap: Gap) -> None:
        if topic.startswith(f"{Tick.kind}."):
            self.ticks_lost += gap.missing_count
        now_ns = self._clock.monotonic_ns()
        if self.is_joined and now_ns >= self._next_gap_log_ns:
            self._next_gap_log_ns = now_ns + GAP_LOG_INTERVAL_NS
            self._log.warning(
                "messages_lost",
                topic=topic,
                expected_seq=gap.first_seq,
                received_seq=gap.last_seq + 1,
                lost_in_all=self.subscriber.lost,
            )
