"""Many backtests of one strategy: every combination of some parameters, over processes."""

import itertools
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from backtest.planning import Wish, run_wish
from backtest.result import Result
from common.config import parse_value
from common.errors import ConfigError

COMBINATIONS_MAX = 100_000


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """One backtest of a sweep: its parameters, and its result or why there is none."""

    parameters: dict[str, Any]
    result: Result | None = None
    error: str | None = None


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """Read `fast=1:10:1` (from, to included, step) or `fast=1,2,5`.

    Raises:
        ConfigError: It is neither, or has no value.
    """
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise ConfigError(f"--sweep: expected NAME=FROM:TO:STEP or NAME=VALUE,VALUE, was {text!r}")
    if ":" not in values:
        return name, [parse_value(value.strip()) for value in values.split(",") if value.strip()]
    try:
        first, last, *rest = (Decimal(part) for part in values.split(":"))
        [step] = rest or [Decimal(1)]
    except (InvalidOperation, ValueError) as error:
        raise ConfigError(f"--sweep {name}: expected FROM:TO:STEP in numbers, was {values!r}") from error
    if not (first <= last and step > 0 and (last - first) / step < COMBINATIONS_MAX):
        raise ConfigError(f"--sweep {name}: expected FROM <= TO and a STEP above 0, was {values!r}")
    steps = [first + step * number for number in range(int((last - first) / step) + 1)]
    are_whole = all(value == value.to_integral_value() for value in steps)
    return name, [int(value) if are_whole else float(value) for value in steps]


def combine(axes: Sequence[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    """Every combination, the last axis running fastest.

    Raises:
        ConfigError: An axis is named twice, or there are too many.
    """
    names = [name for name, _ in axes]
    if len(set(names)) < len(names):
        raise ConfigError(f"--sweep: expected each parameter once, was {', '.join(names)}")
    found = [
        dict(zip(names, values, strict=True))
        for values in itertools.islice(itertools.product(*(values for _, values in axes)), COMBINATIONS_MAX + 1)
    ]
    if len(found) > COMBINATIONS_MAX:
        raise ConfigError(f"--sweep: expected up to {COMBINATIONS_MAX} combinations")
    return found


def run_sweep(wish: Wish, combinations: Sequence[dict[str, Any]], jobs: int) -> Iterator[Combination]:
    """Run each combination; they come as they are ready. One that fails is named and ends no other.

    Whoever stops reading, or is interrupted, ends the workers.
    """
    wishes = [
        (combination, msgspec.structs.replace(wish, parameters=wish.parameters | combination))
        for combination in combinations
    ]
    if jobs == 1:
        yield from map(run_one, wishes)
        return
    # spawn: a forked worker would share what must not be shared, such as the libraries' threads.
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(wishes)), _leave_interrupts) as pool:
        yield from pool.imap_unordered(run_one, wishes)
        pool.close()
        pool.join()


def run_one(task: tuple[dict[str, Any], Wish]) -> Combination:
    """One combination, in whatever process; whatever it raises is told, not raised."""
    combination, wish = task
    try:
        result = run_wish(wish).result
    except Exception as error:  # noqa: BLE001  # a strategy's own code may raise anything while it is built
        return Combination(parameters=combination, error=f"{type(error).__name__}: {error}")
    halted = "; ".join([*result.outcome.halts.values(), *result.outcome.failures[:1]])
    return Combination(parameters=combination, result=result, error=halted or None)


def rank(combinations: Sequence[Combination], by: str) -> list[Combination]:
    """The best first by a statistic, equal ones by their parameters; what has no result, or no such number, last."""

    def place(each: Combination) -> tuple[bool, float]:
        value = None if each.result is None else float(getattr(each.result.statistics, by))
        is_number = value is not None and value == value  # noqa: PLR0124  # NaN
        return not is_number, -value if value is not None and is_number else 0.0

    return sorted(sorted(combinations, key=_order), key=place)


def _order(combination: Combination) -> list[tuple[str, Any]]:
    return [(type(value).__name__, value) for value in combination.parameters.values()]


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; here the parent decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
