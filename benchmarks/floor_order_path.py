"""Floor of the order path: gateway, strategy, executor and exchange as four loops around bare sockets, one frame each.

    gateway ══ PUB → SUB ══ strategy ── PUSH → PULL ── executor ── REQ → ROUTER ── exchange

What any Python pipeline of this shape costs before it does anything: no decoding, no checks, no journal. A frame
carries when its tick was due; the tick's own frame goes on as signal and order and comes back as the answer.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec
import zmq

from benchmarks.floor_process import FloorProcess, RoleResult, play, read_result
from benchmarks.frames import frame_parts, pack_due, read_due
from benchmarks.results import Check, OrderPathRun
from benchmarks.schedule import OrderPathPlan, due_times
from benchmarks.stage import Stage
from common.clock import NS_PER_S, SystemClock
from common.metrics import Latency

ROLES = ("exchange", "executor", "strategy", "gateway")
# Time to compute the schedule before its first tick is due.
LEAD_NS = NS_PER_S // 2
TIMEOUT_S = 60.0

_now_ns = SystemClock.now_ns


def measure(plan: OrderPathPlan) -> OrderPathRun:
    """Run the floor once."""
    with Stage() as stage:
        encoded = msgspec.json.encode(plan).decode()
        for role in ROLES:
            stage.start(role, "benchmarks.floor_order_path", role, str(stage.directory), encoded)
        stage.wait_end(ROLES, plan.warm_up_s + plan.duration_s + TIMEOUT_S)
        results = {role: read_result(stage.directory, role) for role in ROLES}
    latency = Latency()
    latency.merge(results["executor"].latency)
    checks = [
        Check("ticks published", plan.tick_count, results["gateway"].count),
        Check("ticks received", plan.tick_count, results["strategy"].count),
        Check("orders answered", plan.signal_count, results["exchange"].count),
        Check("orders acknowledged", plan.signal_count, results["executor"].count),
        Check("latencies measured", plan.measured_count, latency.count),
    ]
    return OrderPathRun(latency, {}, checks)


def broadcast(process: FloorProcess, plan_bytes: bytes) -> RoleResult:
    """Gateway: sleep until a tick is due, send all that are due, each as one message."""
    plan = _read_plan(plan_bytes)
    socket = process.bind(zmq.PUB, "market")
    process.await_subscriber(socket)
    schedule = due_times(_now_ns() + LEAD_NS, plan.rate, plan.tick_count)
    head, tail = frame_parts()
    send, number = socket.send, 0
    while number < plan.tick_count:
        end = bisect_right(schedule, _now_ns(), number)
        for due_ns in schedule[number:end]:
            send(head + pack_due(due_ns) + tail)
        number = end
        if number < plan.tick_count:
            SystemClock.sleep_ns(schedule[number] - _now_ns())
    return RoleResult(number)


def decide(process: FloorProcess, plan_bytes: bytes) -> RoleResult:
    """Strategy: count, and pass each n-th tick on."""
    plan = _read_plan(plan_bytes)
    push = process.connect(zmq.PUSH, "signals").send
    receive = process.subscribe().recv
    signal_every = plan.signal_every
    count = 0
    for count in range(1, plan.tick_count + 1):
        frame = receive()
        if not count % signal_every:
            push(frame)
    return RoleResult(count)


def execute(process: FloorProcess, plan_bytes: bytes) -> RoleResult:
    """Executor: place an order for each signal, and note when its answer was there."""
    plan = _read_plan(plan_bytes)
    pull = process.bind(zmq.PULL, "signals").recv
    orders = process.connect(zmq.REQ, "orders")
    latencies_ns = []
    for _ in range(plan.signal_count):
        frame = pull()
        orders.send(frame)
        orders.recv()
        latencies_ns.append(_now_ns() - read_due(frame))
    return RoleResult(len(latencies_ns), latency=_encode(latencies_ns[plan.warm_up_signals :]))


def answer(process: FloorProcess, plan_bytes: bytes) -> RoleResult:
    """Exchange: send every order back."""
    plan = _read_plan(plan_bytes)
    socket = process.bind(zmq.ROUTER, "orders")
    for _ in range(plan.signal_count):
        socket.send_multipart(socket.recv_multipart())
    return RoleResult(plan.signal_count)


def _read_plan(plan_bytes: bytes) -> OrderPathPlan:
    return msgspec.json.decode(plan_bytes, type=OrderPathPlan)


def _encode(latencies_ns: Iterable[int]) -> bytes:
    latency = Latency()
    for latency_ns in latencies_ns:
        latency.record(latency_ns)
    return latency.encode()


if __name__ == "__main__":
    play({"gateway": broadcast, "strategy": decide, "executor": execute, "exchange": answer})
