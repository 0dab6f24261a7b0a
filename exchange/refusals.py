"""Why the gateway itself, whatever its venue, refuses a request or ends an order."""

import enum
from typing import NamedTuple


class Refusal(NamedTuple):
    """A code for programs, a sentence for people."""

    reason: str
    detail: str


class GatewayReason(enum.StrEnum):
    """The codes in `reason` of answers and execution reports that any venue's gateway may give."""

    EXPIRED = "EXPIRED"
    FENCED = "FENCED"
    TERMS_DIFFER = "TERMS_DIFFER"
    NOT_A_LIMIT_ORDER = "NOT_A_LIMIT_ORDER"
    QUANTITY_FILLED = "QUANTITY_FILLED"
    INSTRUMENT_INCOMPLETE = "INSTRUMENT_INCOMPLETE"

    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    COUNT_MISMATCH = "COUNT_MISMATCH"  # a source has more orders here than it says to have intended
    EXECUTOR_SILENT = "EXECUTOR_SILENT"  # the dead-man's switch
