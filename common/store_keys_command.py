"""`tickpulse store keys` and `tickpulse store migrate`, which the group of `tickpulse store` takes up."""

from pathlib import Path

import click

from common.command import Command
from common.store.sealing import add_to_ring, names_in_ring
from common.store.sqlite.store import migrate as migrate_file


@click.group()
def keys() -> None:
    """Make the keys that seal an event log.

    A ring is a file of named keys that only its owner can read; `store.key_ring` of the config names it. The newest key
    seals what is written from now on, and a running recorder takes it up by itself. Older keys stay in the ring for as
    long as anything that they sealed is to be read: whoever loses one loses what it sealed. Keep a copy elsewhere.
    """


@keys.command(cls=Command)
@click.argument("ring", type=click.Path(path_type=Path))
@click.option("--name", help="What it is called.  [default: k1, k2, ...]")
def new(ring: Path, name: str | None) -> None:
    """Add a new key to RING and make it current; make the ring where there is none."""
    click.echo(f"{ring}: {add_to_ring(ring, name)} is current")


@keys.command("list", cls=Command)
@click.argument("ring", type=click.Path(path_type=Path))
def list_keys(ring: Path) -> None:
    """Name the keys of RING, the current one marked; never the keys themselves."""
    current, names = names_in_ring(ring)
    for name in names:
        click.echo(f"{'*' if name == current else ' '} {name}")


@click.command(cls=Command)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--adopt", is_flag=True, help="Also take over a table events(id, timestamp, type, data_json) made by hand."
)
def migrate(path: Path, *, adopt: bool) -> None:
    """Bring an event log in SQLite up to date.

    It is done in one transaction: whole, or not at all. `--adopt` asks nothing further, and needs rows whose data_json
    are messages of tickpulse and whose timestamp is theirs, in ns UTC; else nothing is changed.
    """
    migrate_file(path, is_adopting=adopt)
    click.echo(f"{path}: up to date")
