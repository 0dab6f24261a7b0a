"""Connects a bus to those of other processes, over the wire and the numbers that every channel of ours has.

What is published here goes to handlers here at once, and to every process that subscribes to our endpoint. ZeroMQ
queues up to `queue_messages_max` frames for each of them and drops beyond that, for the slow one alone; a receiver
sees every loss by its number, counts it, and `on_gap` tells of it. Whoever must miss nothing asks the owner of the
truth again, as the executor's journal.
"""

import asyncio
import contextlib
import sqlite3
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from common.bus.dead_letters import CHANNEL_OWNER
from common.bus.letters import LetterBox, letter_for_frame
from common.clock import NS_PER_MS, NS_PER_S, Clock
from common.errors import InvalidValueError, WireError
from common.events.base import Event
from common.log import FaultLog, Log
from common.sockets.factory import Socket, Sockets
from common.sockets.frames import FrameReader
from common.sockets.transfer import listen, offer
from common.wire.publisher import Publisher
from common.wire.sequence import Gap
from common.wire.subscriber import Subscriber

HEARTBEAT_NS = 250 * NS_PER_MS
HAND_OVER_S_MAX = 1.0
INBOX_EVENTS_MAX = 4_096  # decoded and not yet in a handler's queue; beyond it frames wait in ZeroMQ

Receive = Callable[[Event], Awaitable[None] | None]


class _Intake:
    """One endpoint that we listen to."""

    def __init__(
        self, socket: Socket, subscriber: Subscriber, on_frames: Callable[["_Intake", list[bytes]], bool]
    ) -> None:
        self.socket = socket
        self.subscriber = subscriber
        self.reader = FrameReader(socket, lambda frames: on_frames(self, frames))


class ZeroMQLink:
    """A publishing end, some subscribing ends, or both."""

    def __init__(
        self,
        sockets: Sockets,
        *,
        publish: str | None,
        subscribe: Sequence[str],
        source: str,
        epoch: int,
        clock: Clock,
        log: Log,
        letters: LetterBox,
        on_gap: Callable[[str, Gap], object] | None = None,
    ) -> None:
        """Bind and connect.

        Args:
            sockets: Who makes the sockets; closed with the link.
            publish: Endpoint to bind, or None to publish to nobody else.
            subscribe: Endpoints of others to connect to.
            source: Who we are, in our heartbeats.
            epoch: Our life.
            clock: Where the time comes from.
            log: Where unusable frames are told, once a kind.
            letters: Where unusable frames are kept.
            on_gap: Told of each loss, with its topic.

        Raises:
            ConfigError: An endpoint is taken or none.
        """
        self._clock = clock
        self._sockets = sockets
        self._letters = letters
        self._gap_counts: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._inbox: deque[Event] = deque()
        self._is_full = False
        self._news = asyncio.Event()
        self._inbox_empty = asyncio.Event()
        self._inbox_empty.set()
        self._receive: Receive | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._on_gap_told = on_gap
        self._patterns: set[str] = set()
        self._publisher: Publisher | None = None
        if publish is not None:
            self._socket = sockets.bind_publisher(publish)
            self._publisher = Publisher(role="bus", source=source, epoch=epoch, channel="bus", send=self._offer)
        faults = FaultLog(log)
        self._intakes = []
        for endpoint in subscribe:
            subscriber = Subscriber((), on_gap=self._on_gap, on_fault=self._on_fault(endpoint, faults))
            socket = sockets.connect_subscriber(endpoint, subscriber.prefixes())
            self._intakes.append(_Intake(socket, subscriber, self._on_frames))

    def open(self, receive: Receive) -> None:
        """Begin to listen, and to say our last numbers while idle."""
        self._receive = receive
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._hand_over(), name="bus-link")]
        if self._publisher is not None:
            self._tasks.append(loop.create_task(self._beat(self._publisher), name="bus-heartbeat"))
        for intake in self._intakes:
            intake.reader.start()

    def listen(self, patterns: Iterable[str]) -> None:
        """Have these topics sent to us, too."""
        for pattern in patterns:
            if pattern in self._patterns:
                continue
            self._patterns.add(pattern)
            for intake in self._intakes:
                listen(intake.socket, intake.subscriber.listen(pattern))
                intake.reader.look()

    def send(self, event: Event, topic: str) -> None:
        """Send a numbered event; one of another source keeps its own numbers."""
        publisher = self._publisher
        if publisher is None:
            return
        self._counts["sent"] += 1
        if event.source == publisher.source and event.epoch == publisher.epoch:
            writer = publisher.writer(topic)
            writer.write(event)
            writer.seq = event.seq  # the numbers are those of the bus, whatever was sent before
        else:
            publisher.relay(topic, event)

    async def stop(self) -> None:
        """Listen no more, and hand over what has come."""
        for intake in self._intakes:
            intake.reader.close()
        if self._receive is not None:
            # What waits for a full disk here would hold the end up for ever.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._inbox_empty.wait(), HAND_OVER_S_MAX)

    async def close(self) -> None:
        """Say our last numbers, and end."""
        if self._publisher is not None and self._tasks:
            self._publisher.heartbeat(self._clock.now_ns())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._sockets.close()

    def gaps(self) -> dict[str, int]:
        return dict(self._gap_counts)

    def counters(self) -> dict[str, int]:
        merged = Counter(self._counts)
        for intake in self._intakes:
            merged.update(intake.subscriber.counters())
        return dict(merged)

    def _offer(self, frame: bytes) -> None:
        if not offer(self._socket, frame):
            self._counts["send_refused"] += 1

    def _on_frames(self, intake: _Intake, frames: list[bytes]) -> bool:
        accept = intake.subscriber.accept
        for frame in frames:
            message = accept(frame)
            if isinstance(message, Event):
                self._inbox.append(message)
            elif message is not None:
                self._counts["not_an_event"] += 1
        if self._inbox:
            self._news.set()
            self._inbox_empty.clear()
        self._is_full = len(self._inbox) >= INBOX_EVENTS_MAX
        return not self._is_full

    async def _hand_over(self) -> None:
        inbox, receive = self._inbox, self._receive
        while receive is not None:
            await self._news.wait()
            self._news.clear()
            while inbox:
                try:
                    taking = receive(inbox.popleft())
                except InvalidValueError:  # of more topics than a bus follows
                    self._counts["not_taken"] += 1
                    continue
                if taking is not None:
                    await taking
            self._inbox_empty.set()
            if self._is_full:
                self._is_full = False
                for intake in self._intakes:
                    intake.reader.resume()

    async def _beat(self, publisher: Publisher) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_NS / NS_PER_S)
            publisher.heartbeat(self._clock.now_ns())

    def _on_gap(self, topic: str, gap: Gap) -> None:
        self._gap_counts[topic] += gap.missing_count
        if self._on_gap_told is not None:
            self._on_gap_told(topic, gap)

    def _on_fault(self, endpoint: str, faults: FaultLog) -> Callable[[WireError], None]:
        owner = f"{CHANNEL_OWNER}{endpoint}"

        def keep(error: WireError) -> None:
            faults.report(endpoint, error)
            now_ns = self._clock.now_ns()
            letter = letter_for_frame(error, owner, now_ns)
            try:
                self._letters.keep(letter)
            except (sqlite3.Error, OSError):
                self._counts["frames_lost"] += 1

        return keep
