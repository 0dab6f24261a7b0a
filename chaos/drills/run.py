"""Faults one after the other on a pipeline that trades, and the audit of its books afterwards."""

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import msgspec

from chaos.drills.audit import Audit, audit
from chaos.drills.host import NAMES, STRATEGIES, Host
from chaos.drills.lossy_disk import missing_reason
from chaos.drills.recorded import Kill, run_kills
from chaos.drills.scenarios import DRILLS, TURNS, Setting
from chaos.drills.supervised import SupervisedHost
from common.clock import NS_PER_MS, SystemClock
from common.errors import FatalError, NotReadyError

RECOVERY_S_MAX = 5.0
PATIENCE_S_MAX = 20.0
FAULTS_TOLD_MAX = 10
FAULTS_PER_PIPELINE = 25  # then the books are audited, and a new pipeline begins


class Injected(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, and how long it took from its end until the pipeline worked again.

    That is until both strategies had new orders accepted, under supervisord until everybody was ready.
    """

    scenario: str
    what: str
    recovery_ms: float | None


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Some faults on one pipeline, and what its books said then."""

    faults: list[Injected]
    books: Audit | None
    failure: str | None = None  # why it could not be brought to its end
    skipped: str | None = None  # why it cannot be run here


def run_rounds(count: int, scenario: str | None, seed: int, tell: Callable[[Injected], object]) -> Iterator[Round]:
    """Inject so many faults, in rounds."""
    random, passed = Random(seed), Counter[str]()
    names = _draw(count, scenario, random)
    for setting in Setting:
        chosen = [name for name in names if DRILLS[name].setting is setting]
        if setting is Setting.LOSSY_DISK and chosen and (reason := missing_reason()) is not None:
            yield Round(faults=[], books=None, skipped=f"{', '.join(sorted(set(chosen)))}: {reason}")
        elif setting is Setting.RECORDED and chosen:
            yield _run_recorded(len(chosen), random, tell)
        elif setting is Setting.SUPERVISED and chosen:
            yield _run_supervised(len(chosen), tell)
        else:
            for start in range(0, len(chosen), FAULTS_PER_PIPELINE):
                yield _run_round(setting, chosen[start : start + FAULTS_PER_PIPELINE], random, passed, tell)


def _draw(count: int, scenario: str | None, random: Random) -> list[str]:
    """Every turn once, in another order each time, until there are enough."""
    if scenario is not None:
        return [scenario] * count
    names: list[str] = []
    while len(names) < count:
        names += random.sample(TURNS, len(TURNS))
    return names[:count]


def _run_round(
    setting: Setting, names: list[str], random: Random, passed: Counter[str], tell: Callable[[Injected], object]
) -> Round:
    faults: list[Injected] = []
    with Host(is_disk_lossy=setting is Setting.LOSSY_DISK) as host:
        try:
            for name in NAMES:
                host.start(name)
            host.wait_ready()
            _wait_trading(host)
            for name in names:
                what = DRILLS[name].inject(host, random, passed[name])
                passed[name] += 1
                faults.append(Injected(scenario=name, what=what, recovery_ms=_recover(host)))
                tell(faults[-1])
            codes = host.stop_all()
        except FatalError as error:
            return Round(faults=faults, books=None, failure=str(error))
        books = audit(host.run_directory, STRATEGIES, is_journal_cut=setting is Setting.JOURNAL_CUT)
        failure = f"expected an orderly end, exit codes {codes}" if codes else None
        return Round(faults=faults, books=books, failure=failure)


def _run_supervised(count: int, tell: Callable[[Injected], object]) -> Round:
    """Kill each process in turn, and leave all the rest to supervisord."""
    faults: list[Injected] = []
    with SupervisedHost() as host:
        try:
            host.wait_ready()
            for number in range(count):
                name = host.names[number % len(host.names)]
                recovery_ms = host.wait_ready(host.kill(name))
                faults.append(Injected(scenario="demo", what=name, recovery_ms=recovery_ms))
                tell(faults[-1])
            host.stop()
        except (FatalError, NotReadyError) as error:
            return Round(faults=faults, books=None, failure=str(error))
        return Round(faults=faults, books=audit(host.run_directory, host.strategies))


def _run_recorded(count: int, random: Random, tell: Callable[[Injected], object]) -> Round:
    """Kill the recorder again and again, and look at its log."""
    faults: list[Injected] = []

    def on_kill(kill: Kill) -> None:
        faults.append(Injected(scenario="recorder", what="recorder", recovery_ms=kill.recovery_ms))
        tell(faults[-1])

    try:
        wrong = run_kills(count, random, on_kill)
    except FatalError as error:
        wrong = [str(error)]
    return Round(faults=faults, books=None, failure="; ".join(wrong[:FAULTS_TOLD_MAX]) or None)


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
