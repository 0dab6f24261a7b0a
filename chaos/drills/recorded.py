"""The recorder is killed again and again under load; then its log has to be whole, and exact about what it lacks."""

import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple, Protocol

from chaos.drills.host import NAMES, STOP_S_MAX, Host
from common.clock import NS_PER_MS, SystemClock
from common.errors import FatalError
from common.events.base import Message
from common.events.market import Ticks
from common.events.system import GapFound
from common.history import Recorded
from common.store.address import open_store
from common.store.contract import Store
from executor.history import JournalHistory
from recorder.backfill import BACKFILLED_EPOCH, INSTRUCTIONS, ORDER_CRITICAL, digest_of, instructions_and_reports

NAME = "recorder"
RATE = 5_000.0  # ticks/s of the market
LIFE_MS_MAX = 700  # a life ends after a random time up to this
RECORDING_S_MAX = 20.0
TICKS_PER_SIGNAL = 100
# Each life folds the whole journal first, and most lives of a drill end before they have.
HISTORY_S_MAX = 120.0
FACTS_PER_READ = 500
Stream = tuple[str, str, int]


class Facts(Protocol):
    """A history, as far as it is compared."""

    def last_seq(self) -> int:
        """Number of the newest fact."""
        ...

    def read(self, after_seq: int, count_max: int) -> Sequence[Recorded]:
        """Facts behind a number."""
        ...

    def close(self) -> None:
        """Give the files back."""
        ...


class Kill(NamedTuple):
    """One SIGKILL: the last id that was acknowledged before it, and how long it took until the log grew again."""

    acknowledged_id: int
    recovery_ms: float


def run_kills(count: int, random: Random, tell: Callable[[Kill], object]) -> list[str]:
    """Kill the recorder so many times while all others trade; gives back what is wrong with the log.

    Raises:
        FatalError: The pipeline cannot be brought to its end.
    """
    with Host(rate=RATE, tick_count=TICKS_PER_SIGNAL) as host:
        for name in (NAME, *NAMES):
            host.start(name)
        host.wait_ready()
        address = f"jsonl:{host.run_directory.path / 'store'}"
        faults: list[str] = []
        _wait_recording(host, 0)
        for number in range(1, count + 1):
            SystemClock.sleep_ns(random.randrange(LIFE_MS_MAX) * NS_PER_MS)
            acknowledged_id = host.counter(NAME, "last_id")
            host.kill(NAME)
            with open_store(address) as store:
                if store.last_id < acknowledged_id:
                    faults.append(
                        f"kill {number}: record {acknowledged_id} was acknowledged, the log ends at {store.last_id}"
                    )
            began_ns = SystemClock.monotonic_ns()
            host.start(NAME)
            _wait_recording(host, acknowledged_id)
            tell(Kill(acknowledged_id, (SystemClock.monotonic_ns() - began_ns) / NS_PER_MS))
        codes = host.stop_all()
        if not host.wait(lambda: host.counter(NAME, "history_behind") == 0, HISTORY_S_MAX):
            behind = host.counter(NAME, "history_behind")
            faults.append(
                f"history: expected all of it to be compared within {HISTORY_S_MAX:g} s, {behind} facts behind"
            )
        host.send(NAME, signal.SIGTERM)
        if codes or not host.wait_end(NAME, STOP_S_MAX) or host.exit_code(NAME):
            raise FatalError(f"drill: expected an orderly end, exit codes {codes}, {NAME} {host.exit_code(NAME)}")
        history = JournalHistory(host.run_directory.file("state", ""))
        published = host.last_counter("gateway", "ticks_published")
        with open_store(address) as store:
            return [*faults, *audit_log(store), *audit_facts(store, history), *audit_ticks(store, published)]


def audit_log(store: Store) -> Iterator[str]:
    """What is wrong with the log: damage, ids that are missing, numbers that are neither recorded nor in a gap."""
    yield from (f"{damage.place}: {damage.what}" for damage in store.verify().damages)
    streams: dict[Stream, list[tuple[int, int]]] = defaultdict(list)
    for expected_id, record in enumerate(store.get_events(), start=1):
        if record.id != expected_id:
            yield f"record {expected_id} is missing, {record.id} follows"
            return
        place = _numbers_of(record.message)
        if place is not None:
            streams[place[0]].append(place[1])
    for stream, numbers in streams.items():
        next_seq = 1
        for first_seq, last_seq in sorted(numbers):
            if first_seq != next_seq:
                yield f"{stream}: expected number {next_seq} in the log or in a gap, next is {first_seq} to {last_seq}"
            next_seq = last_seq + 1


def audit_facts(store: Store, history: Facts) -> Iterator[str]:
    """Whatever the executor's journal tells stands in the log, once."""
    recorded = Counter(digest_of(each.message) for each in store.get_events() if type(each.message) in ORDER_CRITICAL)
    seq = 0
    while seq < history.last_seq():
        for fact in history.read(seq, FACTS_PER_READ):
            seq = fact.seq
            for message in (*instructions_and_reports(fact), *fact.events):
                count = recorded[digest_of(message)]
                if type(message) in ORDER_CRITICAL and count != 1:
                    yield f"fact {seq}: expected {message.topic()} once in the log, was {count}"
    history.close()


def audit_ticks(store: Store, published: int) -> Iterator[str]:
    """Ticks that were recorded and ticks that stand in gaps are those that the gateway has counted."""
    places = (_numbers_of(record.message) for record in store.get_events())
    found = sum(
        place[1][1] - place[1][0] + 1 for place in places if place is not None and place[0][0].startswith("tick.")
    )
    if found != published:
        yield f"ticks: expected {published} in the log or in gaps, was {found}"


def _numbers_of(message: Message) -> tuple[Stream, tuple[int, int]] | None:
    """The stream and the numbers that a record accounts for; None where it stands for none."""
    if isinstance(message, GapFound):
        if message.is_recovered or message.last_seq is None:
            return None
        stream = (message.stream, message.publisher, message.publisher_epoch)
        return stream, (message.first_seq, message.last_seq)
    if message.epoch == BACKFILLED_EPOCH or type(message) in INSTRUCTIONS:
        return None
    count = message.count if isinstance(message, Ticks) else 1
    return (message.topic(), message.source, message.epoch), (message.seq - count + 1, message.seq)


def _wait_recording(host: Host, base_id: int) -> None:
    if not host.wait(lambda: host.counter(NAME, "last_id") > base_id, RECORDING_S_MAX):
        raise FatalError(f"drill: expected a log that grows beyond {base_id}; {NAME}: {host.log_tail(NAME)}")
