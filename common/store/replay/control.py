"""What a replay is told while it runs, by keys and by programs: one way in for both. Pure."""

from typing import Any, TypeVar

from common.errors import InvalidValueError
from common.events.base import DRAFT, Message
from common.events.system import ReplayAction, ReplayControlAnswered, ReplayControlRequested, ReplayState
from common.store.replay.player import Player

T = TypeVar("T")


class ReplayEndedError(InvalidValueError):
    """There is nothing left to steer: who listens was told of the end."""


def obey(player: Player[Any], request: ReplayControlRequested, clock_ns: int) -> None:
    """Do what is asked.

    Raises:
        InvalidValueError: It cannot be done, and nothing changed.
    """
    pacer = player.pacer
    if player.is_ended and request.action is not ReplayAction.STATUS:
        raise ReplayEndedError(
            f"{request.action}: expected a replay that goes on, was one that has ended after {player.count} events; "
            "it cannot be taken back, start it again"
        )
    if request.action is ReplayAction.PAUSE:
        pacer.pause(clock_ns)
    elif request.action is ReplayAction.RESUME:
        pacer.resume(clock_ns)
    elif request.action is ReplayAction.STEP:
        pacer.step()
    elif request.action is ReplayAction.SEEK:
        player.seek(_given(request.seek_ns, "seek", "a time, seek_ns"), clock_ns)
    elif request.action is ReplayAction.SPEED:
        pacer.set_speed(_given(request.speed, "speed", "a speed"), clock_ns)


def answer_for(player: Player[Any], message: Message, clock_ns: int, now_ns: int) -> ReplayControlAnswered:
    """Do what a program asks, and say what came of it.

    Args:
        player: Who is told.
        message: The request.
        clock_ns: On the clock of the player.
        now_ns: Wall time, ns UTC.

    Raises:
        InvalidValueError: It is no request to a replay.
    """
    if not isinstance(message, ReplayControlRequested):
        raise InvalidValueError(f"replay: expected a request to a replay, was {message.topic()}")
    reason, detail = None, ""
    try:
        obey(player, message, clock_ns)
    except InvalidValueError as error:
        reason = "REPLAY_ENDED" if isinstance(error, ReplayEndedError) else "REPLAY_REFUSED"
        detail = str(error)[:500]
    return ReplayControlAnswered(
        **DRAFT,
        timestamp_ns=now_ns,
        request_id=message.request_id,
        is_done=reason is None,
        reason=reason,
        detail=detail,
        state=state_of(player),
        position_ns=player.pacer.position_ns(clock_ns),
        speed=player.pacer.speed,
        events=player.count,
    )


def state_of(player: Player[Any]) -> ReplayState:
    """What it does."""
    if player.is_ended:
        return ReplayState.ENDED
    return ReplayState.PAUSED if player.pacer.is_paused else ReplayState.RUNNING


def _given(value: T | None, action: str, what: str) -> T:
    if value is None:
        raise InvalidValueError(f"{action}: expected {what}, was none")
    return value
