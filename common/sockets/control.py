"""Asks a running executor on its control channel, for one command at a time."""

import os

import msgspec

from common.clock import NS_PER_MS, SystemClock
from common.config import Config
from common.errors import NotReadyError, WireError
from common.events.base import DRAFT
from common.events.risk import ControlAction, ControlAnswered, ControlRequested
from common.sockets.factory import Sockets
from common.sockets.transfer import Waiter, offer, take_answer
from common.wire import codec

# An executor turns every 20 ms; what takes seconds does not turn. Less than `trading_state.LOOSENING_AGE_NS_MAX`.
ANSWER_MS_MAX = 3_000


def make_request(action: ControlAction, scope: str, by: str, reason: str) -> ControlRequested:
    """A command, made now, with an id that no other one on this host has."""
    now_ns = SystemClock.now_ns()
    request_id = f"control-{os.getpid()}-{now_ns}"
    return ControlRequested(
        **DRAFT,
        timestamp_ns=now_ns,
        request_id=request_id,
        action=action,
        scope=scope,
        by=by,
        reason=reason,
    )


def ask(config: Config, request: ControlRequested, answer_ms_max: int = ANSWER_MS_MAX) -> ControlAnswered:
    """Send a command and wait for its answer.

    Raises:
        NotReadyError: Nobody answered in time, or with something that is no answer to it.
    """
    endpoint = config.endpoint("control")
    frame = ask_once(config, endpoint, codec.encode_sealed(request), answer_ms_max)
    if frame is None:
        is_open = request.action is not ControlAction.STATUS
        advice = " Whether it was done is not known: look with `tickpulse trading`" if is_open else ""
        raise NotReadyError(
            f"{request.action}: no answer within {answer_ms_max / 1_000:g} s at {endpoint}; is the executor running in "
            f"{config.run_directory().path}?{advice}"
        )
    return _read(frame, request)


def ask_once(config: Config, endpoint: str, frame: bytes, answer_ms_max: int) -> bytes | None:
    """Send one request and wait for its answer; None when none came in time."""
    # No linger: a command that its author was told is lost must not leave afterwards.
    with Sockets(msgspec.structs.replace(config.settings().sockets, linger_ms=0)) as sockets:
        socket = sockets.connect_requester(endpoint)
        offer(socket, frame)
        waiter = Waiter(socket)
        deadline_ns = SystemClock.monotonic_ns() + answer_ms_max * NS_PER_MS
        answer = None
        while answer is None and (left_ns := deadline_ns - SystemClock.monotonic_ns()) > 0:
            waiter.wait(left_ns // NS_PER_MS + 1)
            answer = take_answer(socket)
    return answer


def _read(frame: bytes, request: ControlRequested) -> ControlAnswered:
    try:
        answer = codec.decode(frame)
    except WireError as error:
        raise NotReadyError(f"{request.action}: expected an answer that this version can read; {error}") from error
    if not isinstance(answer, ControlAnswered) or answer.request_id != request.request_id:
        raise NotReadyError(f"{request.action}: expected an answer to {request.request_id}, was {answer}")
    return answer
