"""Brings a projector up to its history and keeps it there."""

import asyncio
from collections.abc import Callable

from common.bus.worker import Projector, WorkerContext
from common.errors import FatalError
from common.history import History, open_history


async def follow(
    projector: Projector, context: WorkerContext, interval_s: float, on_behind: Callable[[int], object]
) -> None:
    """Apply each fact of a history, in order, once; ends only by an exception.

    A model that contains more than its history has was made from one that was replaced since: it is built anew.

    Args:
        projector: Whose model.
        context: What it has from its host.
        interval_s: Between two looks where there was nothing new.
        on_behind: Told how many facts it has yet to apply.
    """
    history = open_history(projector.history, context.state_directory)
    try:
        if projector.last_seq() > history.last_seq():
            context.log.warning("read_model_ahead_of_history", worker=projector.worker_name)
            await projector.reset()
        while True:
            has_more = await _apply_some(projector, context, history, on_behind)
            await asyncio.sleep(0 if has_more else interval_s)
    finally:
        history.close()


async def _apply_some(
    projector: Projector, context: WorkerContext, history: History, on_behind: Callable[[int], object]
) -> bool:
    position = projector.last_seq()
    facts = history.read(position, projector.batch_facts_max)
    if facts and facts[0].seq <= position:
        raise FatalError(f"history {projector.history}: expected facts behind {position}, was {facts[0].seq}")
    if facts:
        await projector.apply(facts, context)
    behind = history.last_seq() - projector.last_seq()
    on_behind(max(behind, 0))
    return len(facts) == projector.batch_facts_max
