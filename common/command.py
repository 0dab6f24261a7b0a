"""What all commands of ours have in common: the options that find a run, and errors without a traceback."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from common.config import Config, load
from common.errors import ExitCode, TickpulseError

F = TypeVar("F", bound=Callable[..., Any])


class Failure(click.ClickException):
    """One of our errors, shown as one line, with its exit code."""

    def __init__(self, error: TickpulseError) -> None:
        super().__init__(str(error))
        self.exit_code = int(error.exit_code)  # type: ignore[misc]  # click declares it for the class, reads it here


class Command(click.Command):
    """A command whose expected failures are messages, not tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run; turn our errors into click's."""
        try:
            return super().invoke(ctx)
        except TickpulseError as error:
            raise Failure(error) from error
        except KeyboardInterrupt:
            sys.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader, such as `head`, has seen enough. Without this the interpreter complains while it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitCode.OK)


def run_options(function: F) -> F:
    """Add the options that every command which touches a run takes: --config, --run-dir and --set."""
    for option in (
        click.option(
            "--set",
            "assignments",
            metavar="TABLE.KEY=VALUE",
            multiple=True,
            help="Override one config key, as in --set gateway.synthetic.rate=50000. May be repeated.",
        ),
        click.option(
            "--run-dir",
            metavar="DIR",
            help="Where this run keeps sockets, state, status and logs.  [default: run.directory of the config: run]",
        ),
        click.option(
            "--config",
            "config_path",
            metavar="FILE",
            envvar="TICKPULSE_CONFIG",
            type=click.Path(path_type=Path),
            help="The config file.  [default: tickpulse.toml here, if there is one]",
        ),
    ):
        function = option(function)
    return function


def load_config(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...] = ()) -> Config:
    """Read the config as the options of a command say.

    Raises:
        ConfigError: The config is wrong.
    """
    config = load(config_path, os.environ, assignments)
    if run_dir is not None:
        config.assign(("run", "directory"), run_dir, "--run-dir")
    return config
