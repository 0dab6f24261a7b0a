"""`tickpulse store keys` and `migrate`."""

import sqlite3
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.errors import ExitCode
from common.store.address import open_store
from common.store_keys_command import keys, migrate


def test_keys_are_made_and_listed(tmp_path: Path) -> None:
    """The newest is current; the keys themselves are not shown."""
    ring = str(tmp_path / "keys.toml")

    made = [CliRunner().invoke(keys, ["new", ring]).output, CliRunner().invoke(keys, ["new", ring]).output]
    listed = CliRunner().invoke(keys, ["list", ring]).output

    assert made == [f"{ring}: k1 is current\n", f"{ring}: k2 is current\n"]
    assert listed == "  k1\n* k2\n"


def test_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    """With the exit code of what a person must change."""
    ring = str(tmp_path / "keys.toml")
    CliRunner().invoke(keys, ["new", ring, "--name", "mine"])

    again = CliRunner().invoke(keys, ["new", ring, "--name", "mine"])

    assert again.exit_code == ExitCode.BAD_CONFIG
    assert "expected a new name, 'mine' is there already" in again.output


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core install can do all but this."""
    monkeypatch.delitem(sys.modules, "common.store.keyring", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)

    outcome = CliRunner().invoke(keys, ["list", str(tmp_path / "keys.toml")])

    assert outcome.exit_code == ExitCode.BAD_CONFIG
    assert "install it with `pip install tickpulse[store]`" in outcome.output


def test_table_made_by_hand_is_taken_over_when_it_is_said(tmp_path: Path) -> None:
    """Without the option the file is another program's."""
    path = tmp_path / "log"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp INTEGER, type TEXT, data_json TEXT)")
    connection.close()

    refused = CliRunner().invoke(migrate, [str(path)])
    taken = CliRunner().invoke(migrate, [str(path), "--adopt"])

    assert (refused.exit_code, taken.exit_code) == (ExitCode.BAD_CONFIG, ExitCode.OK)
    assert taken.output == f"{path}: up to date\n"
    with open_store(f"sqlite:{path}") as store:
        assert store.stats().records == 0


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """No log is made of nothing."""
    outcome = CliRunner().invoke(migrate, [str(tmp_path / "none")])

    assert outcome.exit_code == ExitCode.BAD_CONFIG
    assert "expected a file, was none" in outcome.output
