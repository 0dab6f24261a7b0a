"""Many histories on all cores: each is independent, so the order in which they are done changes nothing."""

import multiprocessing
from collections.abc import Iterator, Sequence

from chaos.histories import HistoryResult, run_history, scenario_of

HISTORIES_PER_TASK = 5


def run_histories(seeds: Sequence[int], scenario: str | None, jobs: int) -> Iterator[HistoryResult]:
    """Run the history of each seed; results come as they are ready."""
    tasks = [(scenario_of(seed, scenario), seed) for seed in seeds]
    if jobs == 1:
        yield from map(_run, tasks)
        return
    # spawn: a forked worker would share what must not be shared, such as the libraries' threads.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_run, tasks, HISTORIES_PER_TASK)
        # Let them end by themselves: what leaves the block terminates who has not.
        pool.close()
        pool.join()


def _run(task: tuple[str, int]) -> HistoryResult:
    return run_history(*task)
