"""Faults one after the other on a pipeline that trades, and the audit of its books afterwards."""

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from chaos.drills.audit import Audit, audit
from chaos.drills.faults import DRILLS, TURNS
from chaos.drills.host import NAMES, STRATEGIES, Host
from common.clock import NS_PER_MS, SystemClock
from common.errors import FatalError

RECOVERY_S_MAX = 5.0
PATIENCE_S_MAX = 20.0
FAULTS_PER_PIPELINE = 25  # then the books are audited, and a new pipeline begins


class Injected(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, and how long it took until both strategies had new orders accepted, from when it was over."""

    scenario: str
    what: str
    recovery_ms: float | None


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Some faults on one pipeline, and what its books said then. `failure`: why it could not be brought to its end."""

    faults: list[Injected]
    books: Audit | None
    failure: str | None = None


def run_rounds(count: int, scenario: str | None, seed: int, tell: Callable[[Injected], object]) -> Iterator[Round]:
    """Inject so many faults, in rounds."""
    random, passed = Random(seed), Counter[str]()
    names = [scenario or TURNS[number % len(TURNS)] for number in range(count)]
    random.shuffle(names)
    for start in range(0, count, FAULTS_PER_PIPELINE):
        yield _run_round(names[start : start + FAULTS_PER_PIPELINE], random, passed, tell)


def _run_round(names: list[str], random: Random, passed: Counter[str], tell: Callable[[Injected], object]) -> Round:
    faults: list[Injected] = []
    with Host() as host:
        try:
            for name in NAMES:
                host.start(name)
            host.wait_ready()
            _wait_trading(host)
            for name in names:
                what = DRILLS[name](host, random, passed[name])
                passed[name] += 1
                faults.append(Injected(scenario=name, what=what, recovery_ms=_recover(host)))
                tell(faults[-1])
            codes = host.stop_all()
        except FatalError as error:
            return Round(faults=faults, books=None, failure=str(error))
        books = audit(host)
        failure = f"expected an orderly end, exit codes {codes}" if codes else None
        return Round(faults=faults, books=books, failure=failure)


def _recover(host: Host) -> float | None:
    """Start again whatever has ended; milliseconds until both strategies trade, None if they do not."""
    began_ns = SystemClock.monotonic_ns()
    for name in NAMES:
        if not host.is_alive(name):
            host.start(name)
    is_trading = _wait_trading(host)
    return (SystemClock.monotonic_ns() - began_ns) / NS_PER_MS if is_trading else None


def _wait_trading(host: Host) -> bool:
    """Wait until each strategy has a further signal accepted."""
    base = host.accepted()

    def is_trading() -> bool:
        for name in NAMES:
            if not host.is_alive(name):
                host.start(name)  # what depends on a process that was killed may end too, and is started as well
        accepted = host.accepted()
        # A new life counts from zero.
        return all(accepted[name] > base[name] or 0 < accepted[name] < base[name] for name in STRATEGIES)

    return host.wait(is_trading, PATIENCE_S_MAX)
