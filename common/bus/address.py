"""A bus by its URL, so that code and config name a transport in one word.

| URL | transport |
|---|---|
| `memory://` | within this process |
| `zmq://?publish=ENDPOINT&subscribe=ENDPOINT` | with other processes; both may be absent, `subscribe` may be repeated |

Endpoints are those of ZeroMQ: `ipc:///run/x/bus.ipc`, `tcp://127.0.0.1:5570`.
"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from common.bus.bus import Bus
from common.bus.config import BusConfig
from common.bus.letters import LetterBox, MemoryLetterBox
from common.bus.zeromq import ZeroMQLink
from common.clock import NS_PER_MS, Clock, SystemClock
from common.config import SocketsConfig
from common.errors import ConfigError
from common.log import Log, get_log
from common.sockets.factory import Sockets

SCHEMES = ("memory", "zmq")


def open_bus(
    url: str = "memory://",
    config: BusConfig | None = None,
    *,
    source: str = "bus",
    epoch: int | None = None,
    letters: LetterBox | None = None,
    clock: Clock | None = None,
    log: Log | None = None,
    sockets: SocketsConfig | None = None,
) -> Bus:
    """Make the bus that a URL names; `async with` opens and closes it. The arguments are those of `Bus`.

    Raises:
        ConfigError: The URL names no transport that we have, or an endpoint that cannot be used.
    """
    clock = clock or SystemClock()
    epoch = epoch if epoch is not None else clock.now_ns() // NS_PER_MS
    letters = letters if letters is not None else MemoryLetterBox()
    log = log or get_log(bus=source)
    shared: dict[str, Any] = {"source": source, "epoch": epoch, "letters": letters, "clock": clock, "log": log}
    scheme, publish, subscribe = read_url(url)
    if scheme == "memory":
        return Bus(config, **shared)
    made = Sockets(sockets or SocketsConfig())
    try:
        link = ZeroMQLink(made, publish=publish, subscribe=subscribe, **shared)
    except ConfigError:
        made.close()
        raise
    return Bus(config, link=link, **shared)


def read_url(url: str) -> tuple[str, str | None, list[str]]:
    """Scheme, endpoint to publish at, endpoints to subscribe to.

    Raises:
        ConfigError: It is no URL of a bus.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"bus {url!r}: expected memory:// or zmq://?publish=ENDPOINT&subscribe=ENDPOINT")
    if parts.netloc or parts.path or (parts.scheme == "memory" and parts.query):
        raise ConfigError(f"bus {url!r}: expected nothing but a query behind {parts.scheme}://")
    query = parse_qs(parts.query, keep_blank_values=True)
    unknown = query.keys() - {"publish", "subscribe"}
    if unknown:
        raise ConfigError(f"bus {url!r}: expected publish and subscribe, was {', '.join(sorted(unknown))}")
    publish = query.get("publish", [])
    if len(publish) > 1:
        raise ConfigError(f"bus {url!r}: expected one endpoint to publish at, was {len(publish)}")
    return parts.scheme, publish[0] if publish else None, query.get("subscribe", [])
