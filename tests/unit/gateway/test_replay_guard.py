from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from common.clock import VirtualClock
from common.config import RunConfig
from common.errors import ConfigError
from gateway.config import GatewayConfig, StoreFeedConfig
from gateway.feeds.store import StoreFeed
from gateway.service import GatewayService


def test_gateway_plays_no_store_in_a_run_that_could_trade_for_real() -> None:
    """Refused before its channel is bound. Today no config can even say `live`; the day one can, this holds."""
    run = msgspec.structs.replace(RunConfig(), mode="live")  # type: ignore[arg-type]
    opened: list[Any] = []
    process = SimpleNamespace(
        clock=VirtualClock(),
        settings=SimpleNamespace(run=run),
        run_directory=SimpleNamespace(lock=lambda *arguments: opened.append(arguments)),
        sockets=SimpleNamespace(bind_router=opened.append),
        endpoint=str,
    )
    service = GatewayService(process, GatewayConfig(feed="store"))  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="old prices must never reach a real venue"):
        service._take_replay(StoreFeed(StoreFeedConfig(address="jsonl:log")))

    assert opened == []
