"""Floor of the broadcast: two processes, PUB → SUB, one frame of a tick's size for each tick, as fast as they go."""

import msgspec
import zmq

from benchmarks.floor_process import FloorProcess, RoleResult, play, read_result
from benchmarks.frames import tick_frame
from benchmarks.results import BroadcastRun, Check
from benchmarks.schedule import BroadcastPlan
from benchmarks.stage import Stage
from common.clock import SystemClock

ROLES = ("strategy", "gateway")
TIMEOUT_S = 120.0


def measure(plan: BroadcastPlan) -> BroadcastRun:
    """Run the floor once."""
    with Stage() as stage:
        encoded = msgspec.json.encode(plan).decode()
        for role in ROLES:
            stage.start(role, "benchmarks.floor_broadcast", role, str(stage.directory), encoded)
        stage.wait_end(ROLES, TIMEOUT_S)
        published, received = (read_result(stage.directory, role) for role in ("gateway", "strategy"))
    checks = [
        Check("ticks published", plan.tick_count, published.count),
        Check("ticks received", plan.tick_count, received.count),
    ]
    return BroadcastRun.timed(plan.tick_count - plan.warm_up_ticks, received.elapsed_ns, checks)


def broadcast(process: FloorProcess, plan_bytes: bytes) -> RoleResult:
    """Gateway: send the same frame again and again."""
    plan = _read_plan(plan_bytes)
    socket = process.bind(zmq.PUB, "market")
    process.await_subscriber(socket)
    send, frame = socket.send, tick_frame()
    for _ in range(plan.tick_count):
        send(frame)
    return RoleResult(plan.tick_count)


def listen(process: FloorProcess, plan_bytes: bytes) -> RoleResult:
    """Strategy: take every frame; the clock starts when the warm-up has arrived."""
    plan = _read_plan(plan_bytes)
    receive = process.subscribe().recv
    for _ in range(plan.warm_up_ticks):
        receive()
    started_ns = SystemClock.monotonic_ns()
    for _ in range(plan.tick_count - plan.warm_up_ticks):
        receive()
    return RoleResult(plan.tick_count, elapsed_ns=SystemClock.monotonic_ns() - started_ns)


def _read_plan(plan_bytes: bytes) -> BroadcastPlan:
    return msgspec.json.decode(plan_bytes, type=BroadcastPlan)


if __name__ == "__main__":
    play({"gateway": broadcast, "strategy": listen})
