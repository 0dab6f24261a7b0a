"""Watch the ticks of one instrument: a client of a running tickpulse, written with pyzmq and msgpack alone.

    tickpulse demo --run-dir run &                  # something to watch
    python examples/watch_ticks.py BTC/USDT
    python examples/watch_ticks.py ETH/USDT --exchange simulated --run-dir run --count 10

What there is to know:

1.  A message is one frame: `topic`, one NUL byte, `body`. The topic is `{kind}.{exchange}.{symbol}`.
2.  A ZeroMQ subscription is a prefix of the frame. The NUL belongs to it: `tick.simulated.BTC/USD` alone would also
    bring BTC/USDT.
3.  The body is one MessagePack map. `type` says which; one that you do not know is to be skipped.
4.  When several ticks wait to be sent, they come as one `Market.Ticks.Received.v1`: `count` records of 72 bytes in
    `data`. A client must read both forms.
5.  Messages may be lost here when you are too slow. Each tick has a number, `seq`, rising by one within an `epoch` (one
    life of the gateway), so you see it: a batch has the numbers `seq - count + 1` to `seq`.
"""

import argparse
import math
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
import zmq

# Little-endian: three int64 (ns UTC), six float64. NaN stands for an absent price or size, 0 for an absent venue time.
RECORD = struct.Struct("<3q6d")
TIMES = ("timestamp_ns", "local_timestamp_ns", "exchange_timestamp_ns")
AMOUNTS = ("bid", "ask", "bid_size", "ask_size", "last", "volume")

Tick = dict[str, Any]


def main() -> None:
    """Subscribe, and print what comes until Ctrl-C."""
    options = read_options()
    endpoint = options.market or f"ipc://{Path(options.run_dir).absolute()}/sockets/market.ipc"
    topic = f"tick.{options.exchange}.{options.symbol}"
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe(topic.encode() + b"\0")
    # ZeroMQ connects in the background, now or when the gateway is there.
    socket.connect(endpoint)
    print(f"waiting for {topic} from {endpoint}", flush=True)
    try:
        watch(socket, options.count)
    except KeyboardInterrupt:
        pass
    finally:
        context.destroy(linger=0)


def watch(socket: "zmq.Socket[bytes]", count_max: int | None) -> None:
    """Print ticks, and say how many are missing between two of them."""
    epoch, last_seq, shown = 0, 0, 0
    while count_max is None or shown < count_max:
        _, _, body = socket.recv().partition(b"\0")
        for tick in ticks_of(msgpack.unpackb(body)):
            if tick["epoch"] == epoch and tick["seq"] > last_seq + 1:
                print(f"{tick['seq'] - last_seq - 1} ticks were lost", flush=True)
            epoch, last_seq = tick["epoch"], tick["seq"]
            print(line_of(tick), flush=True)
            shown += 1
            if shown == count_max:
                return


def ticks_of(message: dict[str, Any]) -> Iterator[Tick]:
    """The ticks of a message, each as a map: one, or those of a batch."""
    if message["type"] == "Market.Tick.Received.v1":
        yield message
    elif message["type"] == "Market.Ticks.Received.v1":
        first_seq = message["seq"] - message["count"] + 1
        for index, record in enumerate(RECORD.iter_unpack(message["data"])):
            amounts = {name: value for name, value in zip(AMOUNTS, record[3:], strict=True) if not math.isnan(value)}
            times = {name: value for name, value in zip(TIMES, record[:3], strict=True) if value}
            yield {**message, **times, **amounts, "seq": first_seq + index}


def line_of(tick: Tick) -> str:
    """One line: time, symbol, number, best bid and ask with their sizes, last price."""
    moment = datetime.fromtimestamp(tick["timestamp_ns"] / 1e9, tz=UTC)
    bid, ask = (f"{tick.get(f'{side}_size', '-')} @ {tick.get(side, '-')}" for side in ("bid", "ask"))
    return f"{moment:%H:%M:%S.%f}  {tick['symbol']} #{tick['seq']}  bid {bid}  ask {ask}  last {tick.get('last', '-')}"


def read_options() -> argparse.Namespace:
    """What to watch, and where."""
    parser = argparse.ArgumentParser(description="Print the ticks of one instrument. Ctrl-C ends it.")
    parser.add_argument("symbol", help="such as BTC/USDT")
    parser.add_argument("--exchange", default="simulated", help="default: %(default)s")
    parser.add_argument("--count", type=int, help="end after so many ticks; default: go on")
    parser.add_argument("--run-dir", default="run", help="run directory of the pipeline; default: %(default)s")
    parser.add_argument("--market", metavar="ENDPOINT", help="such as tcp://host:5555; default: of the run directory")
    return parser.parse_args()


if __name__ == "__main__":
    main()
