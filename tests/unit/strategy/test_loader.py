"""Finding a strategy by name, and its parameters; and what a person is told when there is none."""

import re
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from common.errors import ConfigError
from strategy.base import NoParameters, Strategy
from strategy.loader import load_parameters, load_strategy
from strategy.strategies.momentum import Momentum

STRATEGY_SOURCE = """
from strategy.base import Strategy

class {name}(Strategy):
    pass
"""


class Typed(Strategy):
    """Takes a whole number and a share."""

    class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """One is required."""

        ticks: int
        share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5


def write_module(folder: Path, source: str, name: str = "own_module") -> None:
    """A module where the command is run."""
    (folder / f"{name}.py").write_text(source)


def install(folder: Path, entry: str) -> None:
    """What another distribution leaves behind: metadata with an entry point."""
    metadata = folder / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[tickpulse.strategies]\n{entry}\n")
    sys.path.insert(0, str(folder))


def error_of(reference: str) -> str:
    """What a person is told."""
    with pytest.raises(ConfigError) as caught:
        load_strategy(reference)
    return str(caught.value)


# Found


def test_strategy_is_found_by_its_entry_point() -> None:
    """Under the name of pyproject.toml."""
    assert load_strategy("momentum") is Momentum


def test_strategy_of_another_distribution_is_found_by_its_entry_point(module_folder: Path) -> None:
    """Nothing of ours need be changed for it."""
    write_module(module_folder, STRATEGY_SOURCE.format(name="Bought"))
    install(module_folder, "bought = own_module:Bought")

    found = load_strategy("bought")

    assert (found.__module__, found.__name__) == ("own_module", "Bought")


def test_strategy_is_found_as_module_and_class() -> None:
    """Anything that can be imported."""
    assert load_strategy("strategy.strategies.momentum:Momentum") is Momentum


def test_strategy_is_found_where_the_command_is_run(module_folder: Path) -> None:
    """A quant's own file needs no installation."""
    write_module(module_folder, STRATEGY_SOURCE.format(name="Own"))

    found = load_strategy("own_module:Own")

    assert issubclass(found, Strategy)
    assert found.__name__ == "Own"


# Not found


def test_misspelt_name_is_told_with_the_nearest_and_all_others() -> None:
    """And with the way to name one's own."""
    text = error_of("momentun")

    assert text == (
        "strategy 'momentun': unknown; did you mean momentum? installed: momentum, support_resistance; "
        "or name your own as module:Class"
    )


def test_name_like_no_other_is_told_without_a_guess() -> None:
    """A wrong guess would mislead."""
    text = error_of("zzz")

    assert "did you mean" not in text
    assert "installed: momentum, support_resistance" in text


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("no_such_module:Own", "module no_such_module cannot be imported: No module named 'no_such_module'"),
        ("own_module:Other", "module own_module has no class 'Other'"),
        ("own_module:", "module own_module has no class ''"),
        ("own_module:Own.inner", "module own_module has no class 'Own.inner'"),
        ("own_module:NUMBER", "expected a subclass of strategy.base.Strategy, was 5"),
        ("own_module:Path", "expected a subclass of strategy.base.Strategy, was <class 'pathlib.Path'>"),
        (":Own", "importing  raised ValueError: Empty module name"),
    ],
)
def test_reference_that_leads_nowhere_is_told_with_the_reason(
    module_folder: Path, reference: str, expected: str
) -> None:
    """Not with a traceback of our importing."""
    write_module(module_folder, f"from pathlib import Path\nNUMBER = 5\n{STRATEGY_SOURCE.format(name='Own')}")

    text = error_of(reference)

    assert text == f"strategy {reference!r}: {expected}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 / 0", "importing own_module raised ZeroDivisionError: division by zero"),
        ("class Own(", r"importing own_module raised SyntaxError: '\(' was never closed .*"),
        ("import not_installed_here", "module own_module cannot be imported: No module named 'not_installed_here'"),
    ],
)
def test_module_that_cannot_be_imported_is_told_with_the_reason(
    module_folder: Path, source: str, expected: str
) -> None:
    """The fault is in the quant's own code, and he must see which."""
    write_module(module_folder, source)

    text = error_of("own_module:Own")

    assert re.fullmatch(f"strategy 'own_module:Own': {expected}", text)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import not_installed_here", "module own_module cannot be imported: No module named 'not_installed_here'"),
        ("", "module own_module has no class 'Bought'"),
        ("Bought = 5", "expected a subclass of strategy.base.Strategy, was 5"),
    ],
)
def test_entry_point_that_leads_nowhere_is_told_with_the_reason(
    module_folder: Path, source: str, expected: str
) -> None:
    """A distribution may be broken; a restart cannot help, so this must not look like a crash."""
    write_module(module_folder, source)
    install(module_folder, "bought = own_module:Bought")

    text = error_of("bought")

    assert text == f"strategy 'bought': {expected}"


# Parameters


def test_parameters_are_converted_to_their_types_and_filled_with_defaults() -> None:
    """A whole number will do for a share."""
    parameters = load_parameters(Typed, {"ticks": 3})
    others = load_parameters(Typed, {"ticks": 4, "share": 1})

    assert parameters == Typed.Parameters(ticks=3, share=0.5)
    assert others == Typed.Parameters(ticks=4, share=1.0)


def test_strategy_without_parameters_takes_none() -> None:
    """And says so."""
    nothing = load_parameters(Strategy, {})

    with pytest.raises(ConfigError) as caught:
        load_parameters(Strategy, {"ticks": 3})

    assert nothing == NoParameters()
    assert str(caught.value) == "parameters of Strategy: Object contains unknown field ticks; it takes: none"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"ticks": 3, "shares": 1}, "Object contains unknown field shares; did you mean share?"),
        ({}, "Object missing required field ticks"),
        ({"ticks": "3"}, "Expected int, got str: ticks"),
        ({"ticks": 2.5}, "Expected int, got float: ticks"),
        ({"ticks": 3, "share": 1.5}, "Expected float <= 1.0: share"),
        ({"ticks": 3, "share": float("nan")}, "Expected float >= 0.0: share"),
    ],
)
def test_wrong_parameter_is_told_with_those_that_there_are(given: dict[str, object], expected: str) -> None:
    """Unknown, missing, of another type or out of range."""
    with pytest.raises(ConfigError) as caught:
        load_parameters(Typed, given)

    assert str(caught.value) == f"parameters of Typed: {expected}; it takes: ticks, share"
