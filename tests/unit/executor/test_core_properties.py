"""What holds for any history: a network that loses, repeats and reorders, a process that is killed anywhere.

A history is made from its seed, which is in the name of its test: `pytest -k "history and 17"` repeats one.
"""

from typing import get_args

import pytest
from support.executor_builders import contents, refold
from support.executor_histories import World

from common.events.trading import FINAL_STATUSES
from executor.entries import AnyEntry

SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_history_that_heals_leaves_one_end_per_signal_and_one_truth(seed: int) -> None:
    """Whatever was lost, repeated, reordered or killed: journal, live state and exchange agree, to the last digit."""
    world = World(seed)

    world.play()
    world.end()

    world.check_ends()
    world.check_orders()
    world.check_positions()
    world.check_cancels()
    assert contents(refold(world.life.journal.entries)) == contents(world.life.book)


def test_histories_have_something_of_everything() -> None:
    """Random tests that never reach a fill prove nothing about fills."""
    worlds = [World(seed) for seed in range(24)]
    for world in worlds:
        world.play()
        world.end()

    kinds = {type(entry).__name__ for world in worlds for entry in world.life.journal.entries}
    statuses = {order.status for world in worlds for order in world.life.book.orders.values()}
    # An honest exchange has no order that we did not send, loses none, and does not contradict itself.
    dishonest = {"OrderAdopted", "OrderVanished", "OrderReopened"}
    assert kinds == {kind.__name__ for kind in get_args(AnyEntry)} - dishonest
    assert statuses >= FINAL_STATUSES
    assert sum(len(world.exchange.executions) for world in worlds) > 50
