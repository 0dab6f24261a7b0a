"""The kill switch: who may trade, folded from the journal, so that a halt survives every restart. Pure.

Each scope (`all`, `strategy:NAME`, `symbol:EXCHANGE.SYMBOL`) has a state of its own, and the strictest of the three
that cover an order decides. Whatever goes wrong may tighten a scope; only a named person may loosen it.
"""

import enum
import re
from collections.abc import Container, Iterable

import msgspec

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import DRAFT
from common.events.risk import ControlAction, ControlRequested, ScopeState, TradingState, TradingStateChanged
from common.ids import check_name
from common.instruments import check_symbol
from executor.entries import TradingStateMoved

ALL = "all"
SCOPE_CHARACTERS_MAX = 64  # of `Name` in the messages that carry a scope
SCOPES_MAX = 1_000  # every strategy and symbol of a large run; a script gone wild fills no memory
# Longer than the command waits for its answer. What a person has given up on must not loosen anything later, such as
# when a paused executor wakes and reads what waited for it.
LOOSENING_AGE_NS_MAX = 5 * NS_PER_S

STRICTNESS = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
WANTED_STATES = {
    ControlAction.HALT: TradingState.HALTED,
    ControlAction.REDUCE: TradingState.REDUCING,
    ControlAction.RESUME: TradingState.ACTIVE,
}
# What moves the switch by itself has a colon in its name, or this name.
RECONCILIATION = "reconciliation"
_is_plain_name = re.compile(r"[^\s:](?:[^:\n]{0,30}[^\s:])?").fullmatch


class ControlRefusalReason(enum.StrEnum):
    """Why a command was not obeyed."""

    INVALID_SCOPE = "INVALID_SCOPE"
    INVALID_NAME = "INVALID_NAME"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    REQUEST_TOO_OLD = "REQUEST_TOO_OLD"
    TOO_MANY_SCOPES = "TOO_MANY_SCOPES"


class ControlRefusal(msgspec.Struct, frozen=True):
    """A reason code, and what was expected and was there."""

    reason: ControlRefusalReason
    detail: str


class KillSwitch:
    """The state of every scope. `apply` folds an entry in; everything else only looks."""

    def __init__(self) -> None:
        # `all`, and whatever else is not active: a lifted scope is as if it had never been.
        self._scopes = {ALL: ScopeState(scope=ALL, state=TradingState.ACTIVE, by="", reason="", since_ns=0)}

    def apply(self, entry: TradingStateMoved) -> TradingStateChanged:
        """Take a fact of the journal; gives back the event that tells of it."""
        if entry.state is TradingState.ACTIVE and entry.scope != ALL:
            self._scopes.pop(entry.scope, None)
        else:
            self._scopes[entry.scope] = ScopeState(
                scope=entry.scope, state=entry.state, by=entry.by, reason=entry.reason, since_ns=entry.timestamp_ns
            )
        return TradingStateChanged(
            **DRAFT,
            timestamp_ns=entry.timestamp_ns,
            scope=entry.scope,
            state=entry.state,
            by=entry.by,
            reason=entry.reason,
        )

    def restore(self, scopes: Iterable[ScopeState]) -> None:
        """Become what `scopes` once told."""
        self._scopes = {scope.scope: scope for scope in scopes}

    def state(self, strategy: str, exchange: str, symbol: str) -> TradingState:
        """What orders of a strategy in an instrument may do. Costs the same however many scopes there are."""
        return self.strictest(strategy, exchange, symbol).state

    def strictest(self, strategy: str, exchange: str, symbol: str) -> ScopeState:
        """The scope that decides for a strategy in an instrument, and who moved it; `all` where several are equal."""
        scopes = self._scopes
        found = scopes[ALL]
        if len(scopes) > 1:
            for scope in (f"strategy:{strategy}", f"symbol:{exchange}.{symbol}"):
                other = scopes.get(scope)
                if other is not None and STRICTNESS[other.state] > STRICTNESS[found.state]:
                    found = other
        return found

    def scopes(self) -> list[ScopeState]:
        """`all`, then every other scope that is not active, by name."""
        return [self._scopes[ALL], *(state for scope, state in sorted(self._scopes.items()) if scope != ALL)]

    def tighten(self, scope: str, state: TradingState, *, by: str, reason: str, now_ns: int) -> list[TradingStateMoved]:
        """What to write when something went wrong by itself; nothing where the scope is as strict already.

        Args:
            scope: As in `check_scope`.
            state: REDUCING or HALTED.
            by: `limit:CODE`, `contact:PEER` or `reconciliation`.
            reason: For the person who has to lift it.
            now_ns: When it was found.
        """
        if STRICTNESS[self._state_of(scope)] >= STRICTNESS[state]:
            return []
        return [TradingStateMoved(timestamp_ns=now_ns, scope=scope, state=state, by=by, reason=reason)]

    def decide(
        self, request: ControlRequested, now_ns: int, symbols: Container[str]
    ) -> list[TradingStateMoved] | ControlRefusal:
        """What to write for an operator's command, or why it is refused.

        A command that changes nothing needs no entry, so one that is asked again is done again. CANCEL_ALL and RELOAD
        are only checked for their scope and name, STATUS for nothing: what they do is the caller's.

        Args:
            request: The command.
            now_ns: The time.
            symbols: Instruments of the table, as `EXCHANGE.SYMBOL`: a halt of a misspelt one would halt nothing.
        """
        if request.action is ControlAction.STATUS:
            return []
        wanted = WANTED_STATES.get(request.action)
        refusal = _find_refusal(request, symbols) or self._find_state_refusal(request, wanted, now_ns)
        if refusal is not None:
            return refusal
        if wanted is None or self._is_said_already(request, wanted):
            return []
        return [
            TradingStateMoved(
                timestamp_ns=now_ns, scope=request.scope, state=wanted, by=request.by, reason=request.reason
            )
        ]

    def _find_state_refusal(
        self, request: ControlRequested, wanted: TradingState | None, now_ns: int
    ) -> ControlRefusal | None:
        if wanted is None:
            return None
        age_ns = now_ns - request.timestamp_ns
        if STRICTNESS[wanted] < STRICTNESS[self._state_of(request.scope)] and age_ns > LOOSENING_AGE_NS_MAX:
            return ControlRefusal(
                ControlRefusalReason.REQUEST_TOO_OLD,
                f"{request.action}: expected one of the last {LOOSENING_AGE_NS_MAX // NS_PER_S} s, was "
                f"{age_ns / NS_PER_S:.1f} s old; ask again",
            )
        if request.scope not in self._scopes and wanted is not TradingState.ACTIVE and len(self._scopes) >= SCOPES_MAX:
            return ControlRefusal(
                ControlRefusalReason.TOO_MANY_SCOPES, f"expected up to {SCOPES_MAX} scopes; lift some or halt all"
            )
        return None

    def _is_said_already(self, request: ControlRequested, wanted: TradingState) -> bool:
        """The same person has said the same: also true of a scope that is active and shall be."""
        if wanted is TradingState.ACTIVE:
            return self._state_of(request.scope) is TradingState.ACTIVE
        known = self._scopes.get(request.scope)
        return known is not None and (known.state, known.by, known.reason) == (wanted, request.by, request.reason)

    def _state_of(self, scope: str) -> TradingState:
        known = self._scopes.get(scope)
        return TradingState.ACTIVE if known is None else known.state


def check_scope(scope: str) -> str:
    """Give a scope back when it is one.

    Raises:
        InvalidValueError: It is neither `all`, `strategy:NAME` nor `symbol:EXCHANGE.SYMBOL`, or too long.
    """
    kind, _, name = scope.partition(":")
    if len(scope) > SCOPE_CHARACTERS_MAX:
        raise InvalidValueError(f"scope: expected up to {SCOPE_CHARACTERS_MAX} characters, was {len(scope)}; halt all")
    if kind == "strategy":
        check_name(name, "scope strategy")
    elif kind == "symbol":
        exchange, _, symbol = name.partition(".")
        check_name(exchange, "scope symbol:EXCHANGE.SYMBOL, exchange")
        check_symbol(symbol)
    elif scope != ALL:
        raise InvalidValueError(f"scope: expected all, strategy:NAME or symbol:EXCHANGE.SYMBOL, was {scope!r}")
    return scope


def symbol_scope(exchange: str, symbol: str) -> str:
    """The scope of an instrument; `all` for one whose name is too long to be a scope."""
    scope = f"symbol:{exchange}.{symbol}"
    return scope if len(scope) <= SCOPE_CHARACTERS_MAX else ALL


def is_person(by: str) -> bool:
    """Tell a person's name, which may loosen, from what moves the switch by itself."""
    return by != RECONCILIATION and by.isprintable() and _is_plain_name(by) is not None


def covers(scope: str, strategy: str, exchange: str, symbol: str) -> bool:
    """Tell whether orders of a strategy in an instrument belong to a scope, as when all of a scope are cancelled."""
    return scope in {ALL, f"strategy:{strategy}", f"symbol:{exchange}.{symbol}"}


def _find_refusal(request: ControlRequested, symbols: Container[str]) -> ControlRefusal | None:
    try:
        check_scope(request.scope)
    except InvalidValueError as error:
        return ControlRefusal(ControlRefusalReason.INVALID_SCOPE, str(error))
    if not is_person(request.by):
        return ControlRefusal(
            ControlRefusalReason.INVALID_NAME,
            f"by: expected a person's name of 1 to 32 characters without a colon, was {request.by!r}",
        )
    kind, _, name = request.scope.partition(":")
    # What was delisted while halted must not stay halted for ever.
    if kind == "symbol" and request.action is not ControlAction.RESUME and name not in symbols:
        return ControlRefusal(ControlRefusalReason.UNKNOWN_SYMBOL, f"{name} is not in the instrument table")
    return None
