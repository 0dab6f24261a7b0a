"""A tape and an event log, run through a strategy again: the same decisions, or the first that differs."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from common.errors import ConfigError
from common.store.contract import Store
from strategy.base import Strategy
from strategy.loader import load_parameters
from strategy.tape.comparison import Comparer, Comparison
from strategy.tape.file import Tape, digest_source, plain_parameters
from strategy.tape.market_log import Contents, MarketLog, survey


class Diff(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and what came of it.

    `parameters_changed` has for each parameter that is not as it was then: then, now. `is_code_changed`: the file of
    the strategy is another than then. `damage`: where the tape ends before its time; empty where it does not.
    """

    result: Literal["identical", "different"]
    tape: str
    strategy: str
    epoch: int
    decisions_live: int
    parameters_changed: dict[str, tuple[Any, Any]]
    is_code_changed: bool
    damage: str
    comparison: Comparison


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A tape that could not be compared, and why."""

    tape: str
    why: str
    result: Literal["unknown"] = "unknown"


class SessionDiff(msgspec.Struct, kw_only=True):
    """What came of all tapes of a session, the lives of each strategy in order.

    Different where one is, else unknown where one is.
    """

    lives: list[Diff | Unknown]
    result: Literal["identical", "different", "unknown"] = "identical"
    decisions: int = 0  # that are identical

    def __post_init__(self) -> None:
        results = {life.result for life in self.lives}
        self.result = "different" if "different" in results else "unknown" if "unknown" in results else "identical"
        self.decisions = sum(life.comparison.decisions for life in self.lives if isinstance(life, Diff))


def compare_tape(
    tape: Tape,
    store: Store,
    strategy_type: type[Strategy],
    given: Mapping[str, object],
    begin_progress: Callable[[int], Callable[[int], object]] | None = None,
) -> Diff:
    """Run a tape through this code, with the parameters that it had then but for those given.

    Args:
        tape: What the strategy was given, and decided.
        store: Where the market messages are.
        strategy_type: The code.
        given: Parameters with another value.
        begin_progress: Called with the number of calls on the tape; gives what is then told the calls so far.

    Raises:
        CannotCompareError: The log misses a message.
        ConfigError: The parameters do not fit the code, or it cannot be built.
    """
    head = tape.head
    contents: Contents = survey(tape.notes())
    parameters = load_parameters(strategy_type, head.parameters | dict(given))
    market_log = MarketLog(store, contents)
    try:
        comparer = Comparer(head, strategy_type, parameters, market_log.find)
    except Exception as error:
        raise ConfigError(
            f"strategy {strategy_type.__name__}: building it raised {type(error).__name__}: {error}"
        ) from error
    on_progress = None if begin_progress is None else begin_progress(contents.calls)
    found = comparer.run(tape.notes(), on_progress)
    plain = plain_parameters(parameters)
    return Diff(
        result="identical" if found.difference is None else "different",
        strategy=head.name,
        epoch=head.epoch,
        tape=str(tape.path),
        decisions_live=contents.decisions,
        parameters_changed={
            name: (head.parameters.get(name), plain.get(name))
            for name in sorted({*head.parameters, *plain})
            if head.parameters.get(name) != plain.get(name)
        },
        is_code_changed=digest_source(strategy_type) != head.source_digest,
        damage=tape.damage,
        comparison=found,
    )
