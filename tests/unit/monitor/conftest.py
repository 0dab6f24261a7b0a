"""A place where nothing runs."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with no config file, and no environment of ours."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TICKPULSE_"):
            monkeypatch.delenv(name)
    return tmp_path
