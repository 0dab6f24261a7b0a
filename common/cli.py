"""The `tickpulse` command: a group that finds its commands by entry point and imports only the one that is run."""

import ast
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click

EPILOG = """\b
Exit codes:
  0    ok
  1    fault: the log tells the story; supervisord restarts
  2    usage: an option or argument is wrong
  3    checks failed or not ready; in a demo: something was lost or duplicated
  78   bad config: a person must change something; supervisord does not restart
  130  interrupted
"""


class LazyGroup(click.Group):
    """Lists commands without importing them, so that --help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all installed commands."""
        return sorted(entry.name for entry in entry_points(group="tickpulse.commands"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        found = entry_points(group="tickpulse.commands", name=cmd_name)
        for entry in found:
            command = entry.load()
            if not isinstance(command, click.Command):
                raise click.ClickException(f"{entry.value}: expected a click command, was {type(command).__name__}")
            return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with the first line of each one's docstring."""
        rows = [(entry.name, summary_of(entry)) for entry in sorted(entry_points(group="tickpulse.commands"))]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def summary_of(entry: EntryPoint) -> str:
    """The first line of a command's docstring, read from its source without running it."""
    spec = importlib.util.find_spec(entry.module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tickpulse")
def main() -> None:
    """Run a trading pipeline of processes that meet on ZeroMQ.

    A gateway broadcasts ticks, strategies turn them into signals, an executor turns those into orders, each at most
    once, and an exchange gateway places them. Start with `tickpulse demo`. Every process is also `python -m <process>`.
    """
