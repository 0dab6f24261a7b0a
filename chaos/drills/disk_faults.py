"""What is done to the files of processes: power lost, syncs and writes refused, files from a backup or gone."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

from chaos.drills.host import EXCHANGE, FILES, STRATEGIES, SYMBOLS, WRITERS, Host
from chaos.drills.lossy_disk import Failure
from common.clock import NS_PER_MS, SystemClock
from common.errors import ExitCode, FatalError
from common.ids import SignalPlace, parse_signal_id
from executor.book import Book
from executor.orders_command import fold

CRASH_S_MAX = 8.0
NOTICE_S_MAX = 10.0
MOMENT_NS_MAX = 500 * NS_PER_MS
PROGRESS_S_MAX = 20.0
# The exchange is another machine: its ledger is the witness.
HERE = ("executor", *STRATEGIES)


def power_loss(host: Host, random: Random, number: int) -> str:
    """Everybody but the exchange ends at once, and what they had not synced is gone, or by chance not.

    Three times out of four it happens in the middle of a sync: after the write, before the disk has it.
    """
    moment = (*HERE, "any moment")[number % (len(HERE) + 1)]
    if moment in HERE:
        host.lossy_disk.fail(moment, Failure.POWER)
        if not host.wait_end(moment, CRASH_S_MAX):
            raise FatalError(f"{moment}: expected to sync something within {CRASH_S_MAX:g} s")
    else:
        SystemClock.sleep_ns(random.randrange(MOMENT_NS_MAX))
    for name in ("gateway", *HERE):
        host.kill(name)
    lost = sum(host.lossy_disk.lose_power(host.state_files(name), random) for name in HERE)
    return f"{moment}, {lost:,} bytes were not synced"


def failing_sync(host: Host, random: Random, number: int) -> str:
    """The disk cannot sync: the process ends, and what it could not sync is gone, as after a failed fsync of Linux."""
    name = WRITERS[number % len(WRITERS)]
    _end_by(host, name, Failure.SYNC)
    lost = host.lossy_disk.lose_power(host.state_files(name), random)
    return f"{name}, {lost:,} bytes were not synced"


def failing_write(host: Host, _random: Random, number: int) -> str:
    """The disk refuses writes: the process ends."""
    name = WRITERS[number % len(WRITERS)]
    _end_by(host, name, Failure.WRITE)
    return name


def _end_by(host: Host, name: str, failure: Failure) -> None:
    """Let the disk fail; the process has to say so and end with a code on which it is started again."""
    host.lossy_disk.fail(name, failure)
    if not host.wait_end(name, CRASH_S_MAX):
        raise FatalError(f"{name}: expected to end by a disk that fails, runs on\n{host.log_tail(name)}")
    code, log = host.exit_code(name), host.log_tail(name)
    if code != ExitCode.FAULT or "disk I/O error" not in log:
        raise FatalError(f"{name}: expected exit code {ExitCode.FAULT:d} and `disk I/O error`, was {code} and\n{log}")


def outbox_cut(host: Host, _random: Random, number: int) -> str:
    """A strategy's files come from a backup, or are gone: it notices, and goes on."""
    name = STRATEGIES[number % len(STRATEGIES)]
    backup = _cut(host, name, is_restored=number // len(STRATEGIES) % 2 == 0)
    host.start(name)
    event = "state_lost" if backup is None else "state_restored"
    if not host.wait(lambda: host.counter(name, event) > 0, NOTICE_S_MAX):
        raise FatalError(f"{name}: expected to notice {event}, did not\n{host.log_tail(name)}")
    return f"{name} {event}"


def journal_cut(host: Host, _random: Random, number: int) -> str:
    """The journal comes from a backup, or is gone: orders are adopted, and trading stops until a person has looked."""
    backup = _cut(host, "executor", is_restored=number % 2 == 0)
    host.start("executor")
    host.wait_ready()
    if not host.counter("executor", "orders_adopted") or not host.counter("executor", "is_halted"):
        raise FatalError(
            f"expected the executor to adopt what its journal forgot, and to halt\n{host.log_tail('executor')}"
        )
    _let_go_on(host)
    return "gone" if backup is None else "from a backup"


def _let_go_on(host: Host) -> None:
    """What a person does after a look at journal and ledger."""
    # A symbol is halted on its own where the exchange tells of a change that the journal forgot to have asked for.
    for scope in ("all", *(f"symbol:{EXCHANGE}.{symbol}" for symbol in SYMBOLS)):
        host.run("resume", "--scope", scope, "--by", "drill", "--reason", "journal and ledger were compared")
    base = host.accepted()

    def is_decided() -> bool:
        has_traded = all(count > base[name] for name, count in host.accepted().items())
        return has_traded or host.counter("exchange", "is_halted") > 0

    if not host.wait(is_decided, NOTICE_S_MAX):
        raise FatalError("expected orders, or an exchange that counts more than the journal intended")
    if host.counter("exchange", "is_halted"):
        host.kill("exchange")
        host.start("exchange", options=("--clear-halt",))


def _cut(host: Host, name: str, *, is_restored: bool) -> bytes | None:
    """Put an older copy in the place of a process's file, or nothing; the process is dead then."""
    path = host.run_directory.file("state", FILES[name])
    backup = _copy(path) if is_restored else None
    has_moved_on = _moved_on(host) if name == "executor" else _emitted_more(host, name)
    if not host.wait(has_moved_on, PROGRESS_S_MAX):
        raise FatalError(f"drill: expected {name} to work on after the backup")
    host.kill(name)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    if backup is not None:
        path.write_bytes(backup)
    return backup


def _copy(path: Path) -> bytes:
    """What a backup holds of a file that is being written."""
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        source.backup(copy)
        return copy.serialize()


def _book(host: Host) -> Book:
    return fold(host.run_directory.file("state", FILES["executor"]))[0]


def _moved_on(host: Host) -> Callable[[], bool]:
    """Whether the exchange has taken an order that is newer than this moment."""
    known = set(_book(host).orders)
    return lambda: any(
        order.venue_order_id is not None and order.client_order_id not in known for order in _book(host).orders.values()
    )


def _emitted_more(host: Host, name: str) -> Callable[[], bool]:
    """Whether the executor has taken an instruction that is newer than this moment."""
    path = host.run_directory.file("state", FILES[name])
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as outbox:
        last_id = outbox.execute("SELECT last_id FROM checkpoint").fetchone()[0] or ""
    place = parse_signal_id(last_id, name) or SignalPlace(0, 0)
    return lambda: (parse_signal_id(_book(host).last_ids.get(name, ""), name) or place) > place
