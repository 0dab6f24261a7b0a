"""A service that does what a test asks for, run as a process of its own: `python fake_service.py DIRECTORY BEHAVIOUR`.

It says on stdout where it is in its life, one word a line, so that a test need not guess when to send a signal.
"""

import sys
from collections.abc import Mapping

from common.config import load
from common.errors import ConfigError
from common.metrics import Latency
from common.process import run_process

SETTLING_TURNS = 3


class FakeService:
    """Turns without work; each behaviour goes wrong in its own way."""

    def __init__(self, behaviour: str) -> None:
        self._behaviour = behaviour
        self._turns_left = SETTLING_TURNS
        self._turns = 0
        self._is_stopping = False
        self._latency = Latency()

    def open(self) -> None:
        """Open nothing, or refuse to."""
        say("open")
        if self._behaviour == "misconfigured":
            raise ConfigError("endpoint tcp://127.0.0.1:5555: expected a free address")

    def turn(self, timeout_ms: int) -> None:
        """Count, or break."""
        self._turns += 1
        self._latency.record(5_000_000)
        self._turns_left -= self._is_stopping
        if self._behaviour == "broken":
            raise RuntimeError("the journal is gone")
        if self._turns == 1:
            say("turn")

    def readiness(self) -> str | None:
        """Ready, or waiting for ever."""
        return "a peer that never comes" if self._behaviour == "waiting" else None

    def counters(self) -> dict[str, int]:
        """How many turns it was given."""
        return {"turns_taken": self._turns}

    def latencies(self) -> Mapping[str, Latency]:
        """Five milliseconds, each turn."""
        return {"turn": self._latency}

    def begin_stop(self) -> None:
        """Settle a few turns later."""
        self._is_stopping = True
        say("stop")

    def is_settled(self) -> bool:
        """Settled after a few turns, or never."""
        return self._behaviour != "unsettled" and self._turns_left <= 0

    def close(self) -> None:
        """Say so."""
        say("close")


def say(word: str) -> None:
    """Tell the test where we are."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> int:
    """Run it as a command would."""
    directory, behaviour, *assignments = sys.argv[1:]
    config = load(None, {}, [f'run.directory="{directory}"', *assignments])
    try:
        return run_process("fake", "fake", config, lambda _: FakeService(behaviour))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
