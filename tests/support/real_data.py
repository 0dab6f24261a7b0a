"""Recorded market data that lies beside the checkout and is never copied into it."""

from pathlib import Path

import pytest

CAPTURE_DIRECTORY = Path(__file__).resolve().parents[3] / "shared" / "data" / "binance_spot_btcusdt_20240809"


def real_capture() -> Path:
    """Find the five minutes of BTCUSDT; skip the test where they are not at hand."""
    path = CAPTURE_DIRECTORY / "capture.gz"
    if not path.is_file():
        pytest.skip(f"needs the recorded market data at {path}, which is not part of the project")
    return path
