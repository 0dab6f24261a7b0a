"""The kinds of failure, so that a reader knows what follows, and the exit codes they end in."""

import enum


class ExitCode(enum.IntEnum):
    """What a command's exit status says; `tickpulse --help` shows this table."""

    OK = 0
    FAULT = 1
    USAGE = 2
    CHECKS_FAILED = 3
    BAD_CONFIG = 78  # EX_CONFIG of sysexits.h: supervisord.conf does not restart on it
    INTERRUPTED = 130


class TickpulseError(Exception):
    """Root of our errors. Its text says what was expected, what was there and what to do."""

    exit_code = ExitCode.FAULT


class FatalError(TickpulseError):
    """State is no longer trusted: log, exit, be restarted, rebuild."""


class ConfigError(TickpulseError):
    """A person must change the config, an option or the machine; a restart cannot help."""

    exit_code = ExitCode.BAD_CONFIG


class NotReadyError(TickpulseError):
    """Something that was waited for or checked did not hold."""

    exit_code = ExitCode.CHECKS_FAILED


class InvalidValueError(TickpulseError, ValueError):
    """A value from outside is not what its place allows; the caller refuses it with this reason."""


class WireFault(enum.StrEnum):
    """Why a frame was dropped. Each is a counter of the process that dropped it."""

    OVERSIZED = "frame_oversized"
    NO_TOPIC = "frame_without_topic"
    BAD_TOPIC = "frame_bad_topic"
    GARBAGE = "frame_garbage"
    UNKNOWN_TYPE = "frame_unknown_type"
    MISTYPED = "frame_mistyped"
    OFF_TOPIC = "frame_off_topic"
    UNEXPECTED = "frame_unexpected"
    CORRUPT = "frame_corrupt"


class WireError(TickpulseError):
    """A frame from a peer cannot be used. Never fatal: it is dropped and counted; who drops it says which it was."""

    def __init__(self, fault: WireFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault
        self.frame = b""
