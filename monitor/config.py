"""How the monitor looks at a pipeline."""

from typing import Annotated

import msgspec


class MonitorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pace of the panel, and what counts as silent."""

    refresh_ms: Annotated[int, msgspec.Meta(ge=50)] = 250  # faster than an eye reads, slower than a core notices
    silence_ms_max: Annotated[int, msgspec.Meta(gt=0)] = 3_000  # six missed reports: the process is gone or hangs
