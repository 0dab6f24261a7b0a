"""The `tickpulse` group, what our commands have in common, and `tickpulse config`."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from common.cli import LazyGroup, main
from common.command import Command, load_config, run_options
from common.errors import ConfigError, ExitCode, FatalError, NotReadyError, TickpulseError

SHOW_MODULES = """
import sys
from common.cli import entry_points, main
try:
    main(["--help"])
finally:
    commands = [entry.module for entry in entry_points(group="tickpulse.commands")]
    heavy = ["common.config", "msgspec", "numpy", "zmq"]
    sys.stderr.write(" ".join(name for name in commands + heavy if name in sys.modules))
"""


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config file and no environment of ours but the test's."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKPULSE_"):
            monkeypatch.delenv(name)


def invoke(*arguments: str) -> Result:
    """Run `tickpulse` with these arguments."""
    return CliRunner().invoke(main, arguments)


def make_failing(error: BaseException) -> Command:
    """A command that ends in this error."""

    def fail() -> None:
        raise error

    return Command("failing", callback=fail)


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    """So it is instant, and one broken command cannot hide the others."""
    child = subprocess.run([sys.executable, "-c", SHOW_MODULES], capture_output=True, text=True, check=True)

    names = {entry.name for entry in entry_points(group="tickpulse.commands")}
    listed = child.stdout.partition("Commands:")[2].partition("Exit codes:")[0]
    assert {"gateway", "exchange", "strategy", "executor", "monitor", "config", "demo", "status"} <= names
    assert set(re.findall(r"^  ([\w-]+)", listed, re.MULTILINE)) == names
    assert child.stderr == ""


def test_help_tells_what_each_command_does_and_what_the_exit_codes_mean() -> None:
    """Every line has its summary, and every exit code its meaning."""
    text = invoke("--help").output

    assert "Show or check the config of a run." in text
    assert all(re.search(rf"^ +{code.value} ", text, re.MULTILINE) for code in ExitCode)


@pytest.mark.parametrize("entry", sorted(entry_points(group="tickpulse.commands")), ids=lambda entry: entry.name)
def test_every_listed_command_can_be_loaded_and_says_what_it_does(entry: object) -> None:
    """An entry point that leads nowhere would be found only by its user."""
    result = invoke(entry.name, "--help")  # type: ignore[attr-defined]

    assert result.exit_code == ExitCode.OK, result.output
    assert "Usage: " in result.output


def test_unknown_command_is_a_usage_error() -> None:
    """Exit code 2, which supervisord does not restart."""
    result = invoke("gatewai")

    assert result.exit_code == ExitCode.USAGE
    assert "No such command 'gatewai'" in result.output


def test_entry_point_that_is_no_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution's mistake, told as such."""

    class Entry:
        value = "other:thing"

        def load(self) -> object:
            return 42

    monkeypatch.setattr("common.cli.entry_points", lambda **_: [Entry()])

    result = CliRunner().invoke(LazyGroup("tickpulse"), ["thing"])

    assert "other:thing: expected a click command, was int" in result.output


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (ConfigError("a table is wrong"), ExitCode.BAD_CONFIG),
        (NotReadyError("the gateway is not ready"), ExitCode.CHECKS_FAILED),
        (FatalError("the journal is broken"), ExitCode.FAULT),
        (TickpulseError("something else"), ExitCode.FAULT),
    ],
)
def test_error_of_ours_is_one_line_and_its_exit_code(error: TickpulseError, exit_code: ExitCode) -> None:
    """A traceback is for bugs, not for things that are expected to happen."""
    result = CliRunner().invoke(make_failing(error))

    assert result.exit_code == exit_code
    assert result.output == f"Error: {error}\n"


def test_interrupted_command_says_so_by_its_exit_code() -> None:
    """130, as shells expect it."""
    assert CliRunner().invoke(make_failing(KeyboardInterrupt())).exit_code == ExitCode.INTERRUPTED


def test_bug_keeps_its_traceback() -> None:
    """What we did not expect is not dressed up as an answer."""
    result = CliRunner().invoke(make_failing(ZeroDivisionError()))

    assert isinstance(result.exception, ZeroDivisionError)


def test_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """As in `tickpulse ledger | head -1`: no traceback and no complaint from the interpreter."""
    script = "from common.config_command import config; config(['show'])"
    reading, writing = os.pipe()
    os.close(reading)

    child = subprocess.run(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, check=False
    )
    os.close(writing)

    assert (child.returncode, child.stderr) == (ExitCode.OK, b"")


def test_unknown_config_key_ends_in_78_and_names_the_nearest() -> None:
    """As supervisord.conf knows: no restart helps: a person must change something."""
    result = invoke("gateway", "--set", "gateway.synthetic.rat=5")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert result.output == (
        "Error: --set gateway.synthetic.rat: gateway.synthetic.rat: unknown key; did you mean rate?\n"
    )


def test_config_show_prints_every_setting_as_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """File, environment, options and defaults together."""
    Path("tickpulse.toml").write_text("[gateway.synthetic]\nrate = 7\n")
    monkeypatch.setenv("TICKPULSE_GATEWAY__SYNTHETIC__SEED", "8")

    result = invoke("config", "show", "--set", "gateway.batch_ticks_max=9")

    shown = json.loads(result.stdout)
    assert set(shown) >= {"run", "channels", "sockets", "instruments", "gateway", "exchange", "executor", "monitor"}
    assert shown["gateway"]["synthetic"]["rate"] == 7.0
    assert shown["gateway"]["synthetic"]["seed"] == 8
    assert shown["gateway"]["batch_ticks_max"] == 9
    assert shown["run"]["log_level"] == "info"


def test_config_that_is_shown_can_be_read_back() -> None:
    """What is printed is a config file that means the same."""
    first = invoke("config", "show", "--set", "gateway.synthetic.rate=7").stdout
    Path("shown.json").write_text(first)

    assert invoke("config", "show", "--config", "shown.json").stdout == first


def test_config_check_of_a_good_config_says_so() -> None:
    """Exit 0 when a run could start."""
    result = invoke("config", "check", "--run-dir", "here")

    assert result.exit_code == ExitCode.OK
    assert result.stdout == f"config ok: 0 instruments, run directory {Path.cwd() / 'here'}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[executor]\nrequest_timeout_ms = 0\n", "executor.request_timeout_ms: expected int >= 1, was 0"),
        ("[strategy.mine]\ntimer = 1\n", "strategy.mine.timer: unknown key; did you mean timer_ms?"),
        ("[unknown]\n", "unknown table [unknown]"),
    ],
)
def test_config_check_of_a_bad_config_is_one_message_and_78(text: str, message: str) -> None:
    """Every table is checked, also those of processes that this host does not run."""
    Path("tickpulse.toml").write_text(text)

    result = invoke("config", "check")

    assert result.exit_code == ExitCode.BAD_CONFIG
    assert result.output.startswith(f"Error: tickpulse.toml: {message}")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environ", "directory"),
    [
        ([], {}, "run"),
        ([], {"TICKPULSE_RUN_DIR": "by_environment"}, "by_environment"),
        (["--set", "run.directory=by_set"], {"TICKPULSE_RUN_DIR": "by_environment"}, "by_set"),
        (["--run-dir", "by_option"], {"TICKPULSE_RUN_DIR": "by_environment"}, "by_option"),
        (["--run-dir", "2024"], {}, "2024"),
    ],
)
def test_run_directory_is_the_one_named_nearest_to_the_person(
    arguments: list[str], environ: dict[str, str], directory: str
) -> None:
    """File, then environment, then options, as for every other key."""

    @click.command(cls=Command)
    @run_options
    def where(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
        click.echo(load_config(config_path, run_dir, assignments).run_directory().path.name)

    result = CliRunner().invoke(where, arguments, env=environ)

    assert result.output == f"{directory}\n"


def test_config_file_of_the_environment_is_read() -> None:
    """As supervisord.conf names it for all programs."""
    Path("other.toml").write_text("[unknown]\n")

    result = CliRunner().invoke(main, ["config", "check"], env={"TICKPULSE_CONFIG": "other.toml"})

    assert result.output.startswith("Error: other.toml: unknown table [unknown]")
