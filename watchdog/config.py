"""How patient the watchdog is."""

from typing import Annotated

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]


class WatchdogConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as a hang and as a crash loop."""

    check_interval_ms: Positive = 100  # reading six files of 24 bytes takes 0.1 ms
    # With a beat each 50 ms and a look each 100 ms a hang is found within 1.7 s. The longest pause that we know of in a
    # healthy process is a write that waits for a busy disk: some 100 ms.
    silence_ms_max: Positive = 1_500
    starting_ms_max: Positive = 30_000  # imports and the journal of a long day, on a busy machine
    restarts_max: Positive = 12  # within the window; somebody who tests restarts does ten, a crash loop 30 a minute
    restart_window_ms: Positive = 60_000
    restart_pause_ms: Positive = 5_000  # before a program in a crash loop is started again; doubles up to
    restart_pause_ms_max: Positive = 300_000
