"""What is done to the processes: one fault at a time, each on a pipeline that trades, until it trades again."""

import signal
from collections.abc import Callable
from random import Random

from chaos.drills.host import FILES, NAMES, PROXIED, STRATEGIES, WRITERS, Host
from chaos.drills.proxy import Trouble
from common.clock import NS_PER_MS, SystemClock
from common.crash_points import CRASH_POINTS

TROUBLE_NS = 400 * NS_PER_MS
PAUSE_NS = 900 * NS_PER_MS
CRASH_S_MAX = 8.0
PASSAGES_MAX = 3
GARBAGE_BYTES_MAX = 3_000
Fault = Callable[[Host, Random, int], str]


def crash_point(host: Host, random: Random, number: int) -> str:
    """A process dies at a named place, in the middle of its work."""
    point = CRASH_POINTS[number % len(CRASH_POINTS)]
    name = random.choice(STRATEGIES) if point.startswith("strategy.") else point.partition(".")[0]
    host.kill(name)
    host.start(name, f"{point}:{random.randint(1, PASSAGES_MAX)}")
    if not host.wait_end(name, CRASH_S_MAX):
        host.kill(name)
        return f"{point} not reached, {name} killed"
    return f"{name} at {point}"


def kill(host: Host, _random: Random, number: int) -> str:
    """SIGKILL."""
    name = NAMES[number % len(NAMES)]
    host.kill(name)
    return name


def kill_everybody(host: Host, _random: Random, _number: int) -> str:
    """SIGKILL of all, as when the host loses its power and its files were synced."""
    for name in NAMES:
        host.kill(name)
    return "all"


def pause(host: Host, _random: Random, number: int) -> str:
    """SIGSTOP and, a while later, SIGCONT: a process that was paused and wakes with old questions."""
    name = NAMES[number % len(NAMES)]
    host.send(name, signal.SIGSTOP)
    SystemClock.sleep_ns(PAUSE_NS)
    host.send(name, signal.SIGCONT)
    return name


def network(host: Host, random: Random, number: int) -> str:
    """The way to the exchange, or from the strategies, is in trouble for a while."""
    channel = PROXIED[number % len(PROXIED)]
    trouble = random.choice([trouble for trouble in Trouble if trouble is not Trouble.NONE])
    host.proxies[channel].trouble = trouble
    SystemClock.sleep_ns(TROUBLE_NS)
    host.proxies[channel].trouble = Trouble.CUT  # whoever waits for lost bytes connects anew
    SystemClock.sleep_ns(TROUBLE_NS // 4)
    host.proxies[channel].trouble = Trouble.NONE
    return f"{channel} {trouble}"


def full_disk(host: Host, _random: Random, number: int) -> str:
    """No further byte can be written; the process has to end at once, and nothing may have left unwritten."""
    name = WRITERS[number % len(WRITERS)]
    host.limit_files(name)
    if not host.wait_end(name, CRASH_S_MAX):
        host.kill(name)
        return f"{name} wrote nothing, killed"
    return name


def torn_tail(host: Host, random: Random, number: int) -> str:
    """A process dies while it writes: half a transaction is at the end of its log."""
    name = WRITERS[number % len(WRITERS)]
    host.kill(name)
    path = host.run_directory.file("state", f"{FILES[name]}-wal")
    with path.open("ab") as log:
        log.write(random.randbytes(random.randint(1, GARBAGE_BYTES_MAX)))
    return name
