import pytest

from common.clock import NS_PER_DAY, NS_PER_S
from common.errors import ConfigError
from common.events.market import Tick
from common.events.registry import type_name
from common.store.retention import Pruning
from recorder.config import RetentionConfig
from recorder.retention import PARTS_MAX, Retention, make_policy

SOMETHING = Pruning(records_of_type={"a": 1}, parts=["part"], size_bytes=1)
NOTHING_OF_IT = Pruning(records_of_type={}, parts=["part"], size_bytes=0)
NOTHING = Pruning(records_of_type={}, parts=[], size_bytes=0)


def parts_of(retention: Retention, now_s: int) -> int | None:
    """How many parts the step that is due takes; None where none is."""
    policy = retention.due(now_s * NS_PER_S)
    return None if policy is None else policy.parts_max


def test_policy_is_read_as_people_type_it() -> None:
    """Ages, size and types, as of `tickpulse store prune`."""
    policy = make_policy(RetentionConfig(older_than="90d", size_max="1GB", types={"tick": "7d"}))

    assert (policy.older_than_ns, policy.size_bytes_max) == (90 * NS_PER_DAY, 10**9)
    assert policy.ages_ns[type_name(Tick)] == 7 * NS_PER_DAY


def test_mistake_in_the_policy_names_its_table() -> None:
    """A person has to correct it."""
    with pytest.raises(ConfigError, match=r"\[recorder.retention\]: size 'much'"):
        Retention(RetentionConfig(size_max="much"))


def test_nothing_goes_unless_somebody_says_so() -> None:
    """By default everything is kept."""
    assert parts_of(Retention(RetentionConfig()), 10**9) is None


def test_steps_follow_each_other_until_nothing_is_left_and_then_after_the_interval() -> None:
    """One part at a time, so that what comes need not wait for all of them."""
    retention = Retention(RetentionConfig(older_than="1d", interval_s=60))
    assert parts_of(retention, 0) == 1
    retention.note(SOMETHING, 0)
    assert parts_of(retention, 0) == 1
    retention.note(NOTHING, 0)
    assert [parts_of(retention, now_s) for now_s in (0, 59, 60)] == [None, None, 1]


def test_parts_of_which_nothing_goes_do_not_hide_those_behind_them() -> None:
    """More of them are looked at, up to a bound."""
    retention = Retention(RetentionConfig(older_than="1d", interval_s=60))
    taken = []
    while (parts := parts_of(retention, 0)) is not None:
        taken.append(parts)
        retention.note(NOTHING_OF_IT, 0)
    assert taken == [2**power for power in range(len(taken))]
    assert taken[-1] == PARTS_MAX

    retention.note(SOMETHING, 0)
    assert parts_of(retention, 60) == 1
