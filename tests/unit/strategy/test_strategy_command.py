"""`tickpulse strategy`: what is wrong with a command line is said before anything is started."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from common.errors import ConfigError, ExitCode
from strategy.__main__ import strategy
from strategy.options import read_param


@pytest.fixture(autouse=True)
def _own_surroundings(module_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config file and no environment of ours but the test's."""
    (module_folder / "broken.py").write_text("1 / 0")
    for name in list(os.environ):
        if name.startswith("TICKPULSE_"):
            monkeypatch.delenv(name)


def invoke(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(strategy, arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ticks=3", ("ticks", 3)),
        ("share=0.5", ("share", 0.5)),
        ("name=plain", ("name", "plain")),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_parameter_is_read_as_toml_reads_it(text: str, expected: tuple[str, object]) -> None:
    """What is no TOML value is a plain string."""
    assert read_param(text) == expected


def test_parameter_without_a_value_is_refused() -> None:
    """It says how one is written."""
    with pytest.raises(ConfigError, match=r"^--param: expected KEY=VALUE, was 'ticks'$"):
        read_param("ticks")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["momentun"], "strategy 'momentun': unknown; did you mean momentum?"),
        (["Fast Lane", "--as", "momentum"], "strategy name: expected a lower-case word"),
        (["mine", "--as", "broken:Mine"], "importing broken raised ZeroDivisionError"),
        (["momentum", "--param", "rising_tick=3"], "parameters of Momentum: Object contains unknown field rising_tick"),
        (["momentum", "--param", "rising_ticks"], "--param: expected KEY=VALUE"),
        (["momentum", "--set", "strategy.momentum.timer_ms=0"], "strategy.momentum.timer_ms: expected int >= 1, was 0"),
        (["momentum", "--set", "strategy.momentum=5"], "strategy.momentum: expected object, was 5"),
        (["momentum", "--set", "strategy=5"], "strategy: expected object, was 5"),
    ],
)
def test_wrong_command_line_is_told_and_starts_nothing(arguments: list[str], expected: str) -> None:
    """Exit 78: supervisord must not try it again."""
    result = invoke(*arguments)

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert expected in result.output
    assert not Path("run").exists()
