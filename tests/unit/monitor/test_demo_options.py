"""`tickpulse demo`: what is wrong with its options is said before anything is started."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from common.config import load
from common.errors import ExitCode
from monitor.demo import _apply, demo

pytestmark = pytest.mark.usefixtures("own_surroundings")


def invoke(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(demo, arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--feed", "live"], "'live' is not one of 'synthetic', 'recorded'"),
        (["--duration", "0"], "Invalid value for '--duration'"),
        (["--duration", "nan"], "Invalid value for '--duration': expected a finite number, was nan"),
        (["--duration", "inf"], "Invalid value for '--duration': expected a finite number, was inf"),
        (["--duration", "long"], "'long' is not a valid float"),
        (["--rate", "-1"], "Invalid value for '--rate'"),
        (["--rate", "nan"], "Invalid value for '--rate'"),
        (["--speed", "-1"], "Invalid value for '--speed'"),
        (["--speed", "inf"], "Invalid value for '--speed'"),
        (["--fast"], "No such option"),
        (["extra"], "Got unexpected extra argument"),
    ],
)
def test_wrong_option_is_a_usage_error_and_starts_nothing(arguments: list[str], expected: str) -> None:
    """The option is named; not even a run directory is made."""
    result = invoke(*arguments)

    assert result.exit_code == ExitCode.USAGE
    assert expected in result.output
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--feed", "recorded"], "--feed recorded: expected a capture file, name it with --path FILE"),
        (["--feed", "store"], "--feed store: expected an event log, name it with --store ADDRESS"),
        (["--feed", "store", "--store", "nowhere"], "store 'nowhere': expected one of"),
        (
            ["--feed", "recorded", "--path", "nowhere.gz"],
            "--path nowhere.gz: expected a capture file, there is none; check the name",
        ),
        (["--feed", "recorded", "--path", "."], "--path .: expected a capture file, there is none"),
        (["--config", "nowhere.toml"], "config file nowhere.toml: expected a readable TOML file"),
        (["--set", "gatewy.feed=recorded"], "--set gatewy.feed: unknown table [gatewy]; did you mean gateway?"),
        (["--set", "gateway"], "--set: expected table.key=value, was 'gateway'"),
        (["--set", "gateway=5"], "gateway is a value, not a table"),
        (["--set", "strategy=momentum"], "--set strategy: strategy: expected object, was 'momentum'"),
    ],
)
def test_option_that_contradicts_the_machine_or_the_config_is_told_and_starts_nothing(
    arguments: list[str], expected: str
) -> None:
    """A person must change something: exit 78, and not even a run directory is made."""
    result = invoke(*arguments)

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert expected in result.output
    assert list(Path.cwd().iterdir()) == []


def test_supervisor_config_that_is_not_there_is_told_with_what_to_do() -> None:
    """Who runs the demo from another folder gets that first."""
    result = invoke("--supervisor-conf", "nowhere.conf", "--run-dir", "made")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert "supervisord config nowhere.conf: no such file; run from the project's folder or name it" in result.output
    assert list(Path("made/logs").iterdir()) == []


def test_run_directory_that_cannot_be_made_is_told() -> None:
    """A file is in its place."""
    Path("taken").write_text("")

    result = invoke("--run-dir", "taken")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert "expected one that this user can create and write" in result.output


@pytest.mark.parametrize(("programs", "awaited"), [(("recorder", "gateway"), 4), (("gateway",), 3), ((), 3)])
def test_options_reach_the_gateway_through_the_config(programs: tuple[str, ...], awaited: int) -> None:
    """Every process of the run reads the same file; a whole file is wanted where nothing is awaited.

    A recorder is awaited where the supervisord config has one.
    """
    Path("capture.gz").write_bytes(b"")
    Path("own.conf").write_text(
        "[supervisord]\nlogfile = %(ENV_X)s/log  ; there\n" + "".join(f"[program:{name}]\n" for name in programs)
    )
    config = load(None, {}, ["strategy.momentum.timer_ms=5", "strategy.other.strategy=momentum"])
    options = {
        "feed": "recorded",
        "path": Path("capture.gz"),
        "speed": 0.0,
        "rate": 500.0,
        "supervisor_conf": Path("own.conf"),
    }

    _apply(config, options)

    assert config.tree["gateway"] == {
        "feed": "recorded",
        "wait_for_subscribers": awaited,
        "synthetic": {"rate": 500.0},
        "recorded": {"path": str(Path("capture.gz").absolute()), "speed": 0.0},
        "on_slow_subscriber": "wait",
    }


def test_store_of_the_demo_is_found_from_any_folder() -> None:
    """The gateway runs in another one."""
    config = load(None, {})
    options = {
        "feed": "store",
        "store": "jsonl:log",
        "path": None,
        "speed": 2.0,
        "rate": None,
        "supervisor_conf": Path(),
    }

    _apply(config, options)

    assert config.tree["gateway"]["store"] == {"address": f"jsonl:{Path('log').absolute()}", "speed": 2.0}


def test_rate_of_the_config_stands_unless_the_option_is_given() -> None:
    """The demo has no rate of its own."""
    config = load(None, {}, ["gateway.synthetic.rate=7"])

    _apply(
        config, {"feed": "synthetic", "path": None, "speed": 1.0, "rate": None, "supervisor_conf": Path("none.conf")}
    )

    assert config.tree["gateway"]["synthetic"] == {"rate": 7}


def test_help_shows_examples_defaults_and_exit_codes() -> None:
    """It is the first thing that a newcomer reads."""
    context = click.Context(demo, info_name="demo")

    text = demo.get_help(context)

    assert "tickpulse demo --rate 20000 --duration 60" in text
    assert "[default: 20.0; x>=0.1]" in " ".join(text.split())
    assert "Exit 0 when every signal was acknowledged" in text
