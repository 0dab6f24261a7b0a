"""How the monitor looks at a pipeline."""

from typing import Annotated, Any

import msgspec

from common.config import Config


class MonitorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pace of the panel, and what counts as silent."""

    refresh_ms: Annotated[int, msgspec.Meta(ge=50)] = 250  # faster than an eye reads, slower than a core notices
    silence_ms_max: Annotated[int, msgspec.Meta(gt=0)] = 3_000  # six missed reports: the process is gone or hangs


def strategy_names(config: Config) -> list[str]:
    """The strategies of a run: names of the tables `[strategy.NAME]`.

    Raises:
        ConfigError: `strategy` is no table.
    """
    return sorted(config.section("strategy", dict[str, Any]))
