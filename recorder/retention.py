"""When the log is pruned, and how much of it at a time. Pure.

Each step takes the oldest part of which something goes, so that what comes meanwhile waits no longer than a part takes.
"""

import msgspec

from common.clock import NS_PER_S
from common.errors import ConfigError, InvalidValueError
from common.store.retention import Policy, Pruning, parse_policy
from recorder.config import RetentionConfig

PARTS_MAX = 1_024  # of which nothing goes, before it is believed that nothing goes of the rest


def make_policy(config: RetentionConfig) -> Policy:
    """What a config asks for.

    Raises:
        ConfigError: An age, size or type in it cannot be read.
    """
    ages = [f"{name}={age}" for name, age in config.types.items()]
    try:
        return parse_policy(config.older_than or None, config.size_max or None, ages)
    except InvalidValueError as error:
        raise ConfigError(f"[recorder.retention]: {error}") from error


class Retention:
    """Takes turns of steps: at the start, and again after each interval."""

    def __init__(self, config: RetentionConfig) -> None:
        """Read the policy.

        Raises:
            ConfigError: As of `make_policy`.
        """
        self._policy = make_policy(config)
        self._interval_ns = config.interval_s * NS_PER_S
        self._next_ns = 0
        self._parts_max = 1

    def due(self, now_ns: int) -> Policy | None:
        """The next step, if it is time for one; `now_ns` is monotonic."""
        if self._policy.is_empty or now_ns < self._next_ns:
            return None
        return msgspec.structs.replace(self._policy, parts_max=self._parts_max)

    def note(self, pruning: Pruning, now_ns: int) -> None:
        """Learn what a step removed: the next one follows until nothing is left to remove."""
        if pruning.records:
            self._parts_max = 1
        elif pruning.parts and self._parts_max < PARTS_MAX:
            self._parts_max *= 2  # parts of which nothing goes stand before those of which something may
        else:
            self.postpone(now_ns)

    def postpone(self, now_ns: int) -> None:
        """Begin anew after the interval."""
        self._parts_max = 1
        self._next_ns = now_ns + self._interval_ns
