"""`tickpulse config`: show what a run would use, and check it before it runs."""

import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import msgspec

from common.command import Command, load_config, run_options
from common.config import Config


@click.group()
def config() -> None:
    """Show or check the config of a run."""


@config.command(cls=Command)
@run_options
def show(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
    """Print every setting with its value, as one JSON object: file, environment, options and defaults together."""
    tables = _typed(load_config(config_path, run_dir, assignments))
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(tables), indent=2) + b"\n")


@config.command(cls=Command)
@run_options
def check(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...]) -> None:
    """Check every table and key. Exit 0 when a run could start, 78 with one message when not."""
    loaded = load_config(config_path, run_dir, assignments)
    _typed(loaded)
    click.echo(f"config ok: {len(loaded.instruments())} instruments, run directory {loaded.run_directory().path}")


def _typed(loaded: Config) -> dict[str, object]:
    tables: dict[str, object] = msgspec.structs.asdict(loaded.settings())
    for entry in sorted(entry_points(group="tickpulse.config")):
        section_type = entry.load()
        tables[entry.name] = loaded.section(entry.name, section_type)
    loaded.instruments()
    return tables
