"""Push one signal and wait for its end: a client of a running tickpulse, written with pyzmq and msgpack alone.

    tickpulse demo --run-dir run --duration 600 &           # something to trade with
    python examples/push_signal.py buy 0.01 BTC/USDT
    python examples/push_signal.py sell 0.01 BTC/USDT --limit-price 61000.00 --id my-first-limit

What there is to know:

1.  A PUSH socket promises nothing: what it has taken is lost when the executor dies. So a signal counts as sent when
    the executor acknowledges it on `events`, and until then it is sent again. This is safe, because a `signal_id` makes
    at most one order, however often it comes.
2.  Sent again means the same body. Another body under a known id is answered CONFLICT, and the first one stands.
3.  Subscribe before you push, and expect to miss the answer all the same, because a subscription takes a moment to
    reach the executor: sending again brings the recorded answer again.
4.  Quantities and prices are decimal strings, on the grid of the instrument. The executor refuses what is off it; it
    rounds nothing. A refusal has a `reason` in UPPER_CASE.
5.  Accepted means that the exchange has the order. What became of it is told by `order_filled` and its sisters.

Exit codes: 0 accepted, 1 refused, 3 no answer before the signal expired.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import zmq

NS_PER_MS = 1_000_000
RESEND_MS = 250

Signal = dict[str, Any]


def main() -> None:
    """Push, wait, tell."""
    options = read_options()
    sockets = f"ipc://{Path(options.run_dir).absolute()}/sockets"
    signal = make_signal(options)
    context = zmq.Context()
    try:
        events = context.socket(zmq.SUB)
        events.subscribe(f"signal_acknowledged.{signal['exchange']}.{signal['symbol']}".encode() + b"\0")
        events.connect(options.events or f"{sockets}/events.ipc")
        signals = context.socket(zmq.PUSH)
        # Without it a signal would be queued for an executor that may come much later.
        signals.setsockopt(zmq.IMMEDIATE, 1)
        signals.connect(options.signals or f"{sockets}/signals.ipc")
        answer = push_until_acknowledged(signals, events, signal)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        context.destroy(linger=0)
    sys.exit(tell(signal, answer))


def make_signal(options: argparse.Namespace) -> Signal:
    """Every field that must be there. Made once, because sending again means the same body."""
    now_ns = time.time_ns()
    signal = {
        "type": "Trading.Signal.Generated.v1",
        "source": options.strategy,
        "epoch": now_ns // NS_PER_MS,  # one life of this program; rises with every start
        "seq": 1,
        "timestamp_ns": now_ns,
        "exchange": options.exchange,
        "symbol": options.symbol,
        "signal_id": options.id or f"{options.strategy}-{now_ns}",
        "strategy": options.strategy,
        "action": options.action,
        "order_type": "limit" if options.limit_price else "market",
        "quantity": options.quantity,
        "time_in_force": options.time_in_force or ("gtc" if options.limit_price else "ioc"),
        "expires_ns": options.expires_ns or now_ns + options.lifetime_ms * NS_PER_MS,
    }
    if options.limit_price:
        signal["limit_price"] = options.limit_price
    return signal


def push_until_acknowledged(
    signals: "zmq.Socket[bytes]", events: "zmq.Socket[bytes]", signal: Signal
) -> dict[str, Any] | None:
    """Send until there is an answer; None when there was none and the signal has expired."""
    frame = f"signal.{signal['exchange']}.{signal['symbol']}".encode() + b"\0" + msgpack.packb(signal)
    is_expired = False
    # Once more after it has expired: an executor that is there answers even so, and says what became of it.
    while not is_expired:
        is_expired = time.time_ns() >= signal["expires_ns"]
        if signals.poll(RESEND_MS, zmq.POLLOUT):
            signals.send(frame)
        again_s = time.monotonic() + RESEND_MS / 1000
        while (left_s := again_s - time.monotonic()) > 0:
            if not events.poll(int(left_s * 1000) + 1):
                break
            _, _, body = events.recv().partition(b"\0")
            answer: dict[str, Any] = msgpack.unpackb(body)
            if answer["signal_id"] == signal["signal_id"]:
                return answer
    return None


def tell(signal: Signal, answer: dict[str, Any] | None) -> int:
    """Print the end of the signal, and return the exit code."""
    if answer is None:
        print(f"{signal['signal_id']}: no answer; is the executor running?", file=sys.stderr)
        return 3
    reasons = [answer[name] for name in ("reason", "detail") if answer.get(name)]
    order = [f"order {answer['client_order_id']}"] if answer.get("client_order_id") else []
    print(f"{signal['signal_id']}: {answer['outcome']}", *order, *reasons)
    return 0 if answer["outcome"] == "accepted" else 1


def read_options() -> argparse.Namespace:
    """What to trade, and where."""
    parser = argparse.ArgumentParser(description="Push one signal and wait for its acknowledgement.")
    parser.add_argument("action", help="buy or sell")
    parser.add_argument("quantity", help="base units, a decimal such as 0.01")
    parser.add_argument("symbol", help="such as BTC/USDT")
    parser.add_argument("--exchange", default="simulated", help="default: %(default)s")
    parser.add_argument("--limit-price", metavar="PRICE", help="quote units; without it the order is a market order")
    parser.add_argument("--time-in-force", choices=["gtc", "ioc", "fok"], help="default: gtc with a limit, else ioc")
    parser.add_argument("--strategy", default="by_hand", help="whose position it is; default: %(default)s")
    parser.add_argument("--id", help="signal_id; default: a new one. Give it to ask again about a signal")
    parser.add_argument("--lifetime-ms", type=int, default=5_000, help="then it is void; default: %(default)s")
    parser.add_argument("--expires-ns", type=int, help="the same as a time, ns UTC; a repeat needs the same")
    parser.add_argument("--run-dir", default="run", help="run directory of the pipeline; default: %(default)s")
    parser.add_argument("--signals", metavar="ENDPOINT", help="such as tcp://host:5556; default: of the run directory")
    parser.add_argument("--events", metavar="ENDPOINT", help="such as tcp://host:5557; default: of the run directory")
    return parser.parse_args()


if __name__ == "__main__":
    main()
