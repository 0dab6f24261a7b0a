"""A terminal's keys as commands to a replay.

| key | does | key | does |
|---|---|---|---|
| space | pause, resume | left, right | 10 s back, 10 s on |
| n | one event, while paused | up, down | 60 s on, 60 s back |
| + - | twice, half the speed | g, a time, Enter | go there; Escape: not |
| q | end | | |
"""

import contextlib
import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Self, TextIO

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import DRAFT
from common.events.system import ReplayAction, ReplayControlRequested
from common.store.replay.control import obey
from common.store.replay.pacer import SPEED_MAX, SPEED_MIN
from common.store.replay.player import Player
from common.store.times import parse_time_ns

ARROWS_NS = {"\x1b[C": 10 * NS_PER_S, "\x1b[D": -10 * NS_PER_S, "\x1b[A": 60 * NS_PER_S, "\x1b[B": -60 * NS_PER_S}
ESCAPE, BACKSPACES, ENTERS = "\x1b", "\x7f\x08", "\r\n"
TYPED_MAX = 40


class Terminal:
    """Takes keys one by one, without an echo, from a terminal in the foreground; restores it whatever happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Look whether keys can be taken: `is_used` tells. Nothing is changed before it is entered."""
        self._descriptor = -1
        self._settings: list[Any] | None = None
        with contextlib.suppress(OSError, ValueError):  # closed, or replaced by something without a descriptor
            descriptor = (stream or sys.stdin).fileno()
            if os.isatty(descriptor) and _is_in_foreground(descriptor):
                self._descriptor = descriptor

    @property
    def is_used(self) -> bool:
        """Tell whether there are keys."""
        return self._descriptor >= 0

    def __enter__(self) -> Self:
        if self.is_used:
            self._settings = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def take_again(self) -> None:
        """After Ctrl-Z and fg, because the shell has set the terminal for itself meanwhile."""
        if self._settings is not None and self.is_used and _is_in_foreground(self._descriptor):
            tty.setcbreak(self._descriptor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._settings is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)
            self._settings = None

    def read(self) -> str:
        """What was typed since the last time."""
        if not self.is_used or not select.select([self._descriptor], [], [], 0)[0]:
            return ""
        try:
            if not _is_in_foreground(self._descriptor):
                return ""  # it is typed for somebody else
            typed = os.read(self._descriptor, 1_024)
        except OSError:
            typed = b""
        if not typed:  # the terminal was closed
            self._descriptor = -1
        return typed.decode(errors="ignore")


def _is_in_foreground(descriptor: int) -> bool:
    return os.tcgetpgrp(descriptor) == os.getpgrp()


class Keys:
    """Does with a player what keys say."""

    def __init__(self, player: Player[Any]) -> None:
        self.is_quit = False
        # What was typed of a time to go to; None while none is typed.
        self.typed: str | None = None
        self.complaint = ""
        self._player = player

    def press(self, text: str, clock_ns: int) -> None:
        """Take what was typed at once; an arrow is three characters of it."""
        while text:
            arrow = text[:3]
            if arrow in ARROWS_NS:
                if self.typed is None:
                    place_ns = self._player.pacer.position_ns(clock_ns) + ARROWS_NS[arrow]
                    self._tell(clock_ns, ReplayAction.SEEK, seek_ns=self._inside(place_ns))
                text = text[3:]
            else:
                self._press_one(text[0], clock_ns)
                text = text[1:]

    def _press_one(self, key: str, clock_ns: int) -> None:
        pacer = self._player.pacer
        if self.typed is not None:
            self._type(key, clock_ns)
        elif key == " ":
            self._tell(clock_ns, ReplayAction.RESUME if pacer.is_paused else ReplayAction.PAUSE)
        elif key == "n":
            self._tell(clock_ns, ReplayAction.STEP)
        elif key in "+-" and pacer.speed:
            speed = pacer.speed * (2 if key == "+" else 0.5)
            self._tell(clock_ns, ReplayAction.SPEED, speed=min(max(speed, SPEED_MIN), SPEED_MAX))
        elif key == "-":
            self._tell(clock_ns, ReplayAction.SPEED, speed=1.0)
        elif key == "g":
            self.typed = ""
        elif key == "q":
            self.is_quit = True

    def _type(self, key: str, clock_ns: int) -> None:
        typed = self.typed or ""
        if key in ENTERS:
            self.typed = None
            try:
                seek_ns = parse_time_ns(typed)
            except InvalidValueError as error:
                self.complaint = str(error)
            else:
                self._tell(clock_ns, ReplayAction.SEEK, seek_ns=seek_ns)
        elif key == ESCAPE:
            self.typed = None
        elif key in BACKSPACES:
            self.typed = typed[:-1]
        elif key.isprintable() and len(typed) < TYPED_MAX:
            self.typed = typed + key

    def _inside(self, place_ns: int) -> int:
        selection = self._player.selection
        return min(max(place_ns, selection.from_ns), selection.to_ns - 1)

    def _tell(self, clock_ns: int, action: ReplayAction, **values: Any) -> None:
        self.complaint = ""
        request = ReplayControlRequested(**DRAFT, timestamp_ns=0, request_id="key", action=action, **values)
        try:
            obey(self._player, request, clock_ns)
        except InvalidValueError as error:
            self.complaint = str(error)
