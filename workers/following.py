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

    A model that was made from another history than this one, such as the one before a backup was restored, is built
    anew.

    Args:
        projector: Whose model.
        context: What it has from its host.
        interval_s: Between two looks where there was nothing new.
        on_behind: Told how many facts it has yet to apply.
    """
    history = open_history(projector.history, context.state_directory)
    try:
        if not history.has(projector.position()):
            context.log.warning("read_model_of_another_history", worker=projector.worker_name)
            await projector.reset()
        while True:
            behind = await _apply_some(projector, context, history)
            on_behind(behind)
            await asyncio.sleep(0 if behind else interval_s)
    finally:
        history.close()


async def _apply_some(projector: Projector, context: WorkerContext, history: History) -> int:
    """Apply what the history has next; gives back how many facts there are behind that."""
    seq = projector.position().seq
    facts = history.read(seq, projector.batch_facts_max)
    if facts:
        await projector.apply(facts, context)
        applied = projector.position().seq
        if applied != facts[-1].seq:
            raise FatalError(
                f"projector {projector.worker_name}: expected its model to be at fact {facts[-1].seq}, was {applied}"
            )
        seq = applied
    return max(history.last_seq() - seq, 0)
