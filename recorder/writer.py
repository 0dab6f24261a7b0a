"""The log behind one thread: a disk that hangs stops neither the sockets nor the proof that the process lives."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from common.events.base import Message
from common.store.contract import Store, StoreConfigError, StoreDamagedError, StoreFullError
from common.store.retention import Policy, Pruning


class Pruned(NamedTuple):
    """What retention removed, and the records by which the log itself says so; or why it could not."""

    pruning: Pruning | None
    markers: Sequence[Message]
    refusal: str = ""


class Writer:
    """One call of the store at a time. Whoever finds it idle may read the store's own figures."""

    def __init__(self, store: Store) -> None:
        """Take over a store that is open for writing."""
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._call: Future[Pruned | list[str] | None] | None = None

    @property
    def is_busy(self) -> bool:
        """Tell whether a call is under way, or its outcome was not taken yet."""
        return self._call is not None

    @property
    def last_id(self) -> int:
        """Id of the newest record."""
        return self._store.last_id

    def write(self, messages: Sequence[Message], recorded_ns: int) -> None:
        """Begin to append."""
        self._begin(lambda: self._append(messages, recorded_ns))

    def flush(self) -> None:
        """Begin to make all of it safe against the loss of power."""
        self._begin(self._store.flush)

    def prune(self, policy: Policy, now_ns: int) -> None:
        """Begin to remove what a policy lets go."""
        self._begin(lambda: self._prune(policy, now_ns))

    def repair(self, now_ns: int) -> None:
        """Begin to take damaged parts out of the log."""
        self._begin(lambda: self._store.repair(now_ns))

    def outcome(self) -> OSError | StoreFullError | Pruned | list[str] | bool | None:
        """How the call ended: what it gives back, else True; what the disk refused it with; None while it lasts.

        Raises:
            FatalError: The log is not what it was.
        """
        call = self._call
        if call is None or not call.done():
            return None
        self._call = None
        error = call.exception()
        if error is None:
            found = call.result()
            return True if found is None else found
        if isinstance(error, OSError | StoreFullError):
            return error
        raise error

    def close(self) -> None:
        """Wait for the call under way, and close the store."""
        self._thread.shutdown()
        self._store.close()

    def _append(self, messages: Sequence[Message], recorded_ns: int) -> None:
        expected_id = self._store.last_id + len(messages)
        try:
            self._store.append_batch(messages, recorded_ns)
        except OSError:
            if self._store.last_id != expected_id:
                raise  # nothing of it counts

    def _prune(self, policy: Policy, now_ns: int) -> Pruned:
        last_id = self._store.last_id
        try:
            pruning = self._store.prune(policy, now_ns)
        except (OSError, StoreConfigError, StoreDamagedError, StoreFullError) as error:
            return Pruned(None, self._since(last_id), str(error))
        return Pruned(pruning, self._since(last_id))

    def _since(self, last_id: int) -> Sequence[Message]:
        newest = self._store.last_id
        return [record.message for record in self._store.get_events(last_id + 1)] if newest > last_id else []

    def _begin(self, work: Callable[[], Pruned | list[str] | None]) -> None:
        if self._call is not None:
            raise RuntimeError("writer: expected the outcome of the call before to be taken first")
        self._call = self._thread.submit(work)
