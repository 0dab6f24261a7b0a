"""A person halts the real pipeline, under a steady flow of orders and with others working on the book, again and again.

What is measured is in the files of the processes anyhow: the journal tells when the executor had read the command, the
ledger when the last order and the last cancel took effect at the exchange. Both come after they were sent.
"""

from dataclasses import dataclass
from itertools import cycle

import msgspec

from benchmarks.order_records import count_resting, read_journal_records, read_ledger_records
from benchmarks.order_times import Halt, HaltOutcome, find_outcome
from benchmarks.pipeline import Pipeline
from benchmarks.pipeline_orders import check_ends, configure
from benchmarks.results import Check
from benchmarks.stage import Stage
from common.clock import NS_PER_MS, SystemClock
from common.errors import FatalError
from common.events.risk import ControlAction, TradingState
from common.sockets.control import ask, make_request
from executor.trading_state import ALL

OPERATOR = "bench"
SETTLE_S_MAX = 20.0
# Of different lengths, so that the halts meet every moment of the loop.
PAUSES_MS = (11, 23, 37, 5, 53, 17, 41)


class HaltPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A flow of orders and how often it is halted."""

    rate: float  # signals/s
    rounds: int
    resting_count: int  # orders that work on the book when it is halted


@dataclass(frozen=True)
class HaltRun:
    """All rounds."""

    outcomes: list[HaltOutcome]
    checks: list[Check]


@dataclass(frozen=True)
class _Command:
    sent_ns: int
    answered_ns: int


def measure(plan: HaltPlan) -> HaltRun:
    """Run the pipeline once, with all rounds in it."""
    with Stage() as stage:
        pipeline = Pipeline(stage)
        configure(pipeline, plan.rate, tick_count_max=0, resting_count=plan.resting_count)
        pipeline.start()
        pipeline.give_start()
        directory, commands = pipeline.run_directory, []
        for _, pause_ms in zip(range(plan.rounds), cycle(PAUSES_MS), strict=False):
            stage.wait(lambda: count_resting(directory) >= plan.resting_count, "orders on the book", SETTLE_S_MAX)
            SystemClock.sleep_ns(pause_ms * NS_PER_MS)
            commands.append(_command(pipeline, ControlAction.HALT))
            stage.wait(lambda: not _open_count(pipeline), "the end of every order", SETTLE_S_MAX)
            _command(pipeline, ControlAction.RESUME)
        pipeline.stop("gateway")
        pipeline.wait_for_acknowledgements(SETTLE_S_MAX)
        pipeline.stop("strategy", "executor", "exchange")
        return _evaluate(pipeline, plan, commands)


def _open_count(pipeline: Pipeline) -> int:
    """Orders without an end, as the executor says."""
    return ask(pipeline.config, make_request(ControlAction.STATUS, ALL, OPERATOR, "")).orders_working


def _command(pipeline: Pipeline, action: ControlAction) -> _Command:
    request = make_request(action, ALL, OPERATOR, "benchmark")
    answer = ask(pipeline.config, request)
    if not answer.is_done:
        raise FatalError(f"benchmark: expected {action} to be obeyed, was {answer.reason}: {answer.detail}")
    return _Command(request.timestamp_ns, SystemClock.now_ns())


def _evaluate(pipeline: Pipeline, plan: HaltPlan, commands: list[_Command]) -> HaltRun:
    journal, ledger = read_journal_records(pipeline.run_directory), read_ledger_records(pipeline.run_directory)
    moves = zip(commands, journal.moves_ns[TradingState.HALTED], journal.moves_ns[TradingState.ACTIVE], strict=True)
    halts = [
        Halt(sent_ns=command.sent_ns, halted_ns=halted_ns, answered_ns=command.answered_ns, resumed_ns=resumed_ns)
        for command, halted_ns, resumed_ns in moves
    ]
    outcomes = [find_outcome(halt, ledger.orders) for halt in halts]
    return HaltRun(
        outcomes,
        [
            Check(
                "halts with enough orders working",
                plan.rounds,
                sum(outcome.working_count >= plan.resting_count for outcome in outcomes),
            ),
            Check("working orders left by a halt", 0, sum(outcome.left_count for outcome in outcomes)),
            Check("orders placed after the last cancel", 0, sum(outcome.late_count for outcome in outcomes)),
            Check("orders decided on while halted", 0, journal.intended_while_halted),
            *check_ends(pipeline, journal, ledger),
        ],
    )
