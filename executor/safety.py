"""What stops trading: the kill switch, moved by people, by broken limits and by lost contact, and what it takes back.

A halt is durable before it is acted on. What it demands of the working orders is looked at again and again, so that a
crash in the middle of it, or an order whose answer was still missing, changes nothing.
"""

from collections.abc import Callable

from common.clock import NS_PER_MS
from common.events.base import DRAFT
from common.events.risk import (
    ControlAction,
    ControlAnswered,
    ControlRequested,
    MarginCalled,
    Severity,
    TradingState,
)
from common.instruments import InstrumentTable
from executor.breaches import Breach, find_breaches
from executor.config import ExecutorConfig
from executor.dialogue import ExchangeDialogue
from executor.entries import CancelIntended
from executor.facts import Facts
from executor.gate import RiskGate
from executor.limits import describe_limits
from executor.orders import Order
from executor.trading_state import ALL, RECONCILIATION, ControlRefusal, covers

# How often what is at stake is valued anew and the limits of losses are looked at.
WATCH_INTERVAL_NS = 250 * NS_PER_MS


class Safety:
    """Moves the kill switch and has the dialogue cancel what it stops."""

    def __init__(
        self,
        facts: Facts,
        gate: RiskGate,
        dialogue: ExchangeDialogue,
        config: ExecutorConfig,
        instruments: InstrumentTable,
    ) -> None:
        self._facts = facts
        self._book = facts.book
        self._switch = facts.book.kill_switch
        self._gate = gate
        self._dialogue = dialogue
        self._symbols = frozenset(entry.name for entry in instruments)
        self._contact_lost_ns_max = config.contact_lost_ms_max * NS_PER_MS
        self._next_watch_ns = 0

    # People

    def on_control(self, request: ControlRequested, now_ns: int) -> ControlAnswered:
        """Obey an operator's command, or say why not. What reloads limits has been done, or refused, by the caller."""
        decision = self._switch.decide(request, now_ns, self._symbols)
        if isinstance(decision, ControlRefusal):
            self._facts.counts["controls_refused"] += 1
            return self.report(request, now_ns, refusal=(decision.reason.value, decision.detail))
        for entry in decision:
            self._facts.learn(entry)
        cancelled = 0
        if request.action is ControlAction.CANCEL_ALL:
            cancelled = self._cancel(request.scope, now_ns)
        elif request.action is ControlAction.HALT:
            cancelled = self._enforce(now_ns)
        self._facts.counts["controls_obeyed"] += 1
        return self.report(request, now_ns, cancelled=cancelled)

    def report(
        self,
        request: ControlRequested,
        now_ns: int,
        *,
        cancelled: int = 0,
        refusal: tuple[str, str] | None = None,
    ) -> ControlAnswered:
        """How things stand, as the answer to a command."""
        return ControlAnswered(
            source="executor",
            epoch=0,
            seq=0,
            timestamp_ns=now_ns,
            request_id=request.request_id,
            is_done=refusal is None,
            reason=None if refusal is None else refusal[0],
            detail="" if refusal is None else refusal[1][:500],
            scopes=self._switch.scopes(),
            circuit=self._dialogue.circuit.state,
            orders_working=len(self._book.working_orders()),
            orders_cancelling=cancelled,
            limits=describe_limits(self._gate.limits),
        )

    # What happens by itself

    def on_time(self, now_ns: int) -> None:
        """Look at losses, margin and the contact with the exchange; and at orders that a halt has not reached yet."""
        if now_ns < self._next_watch_ns:
            return
        self._next_watch_ns = now_ns + WATCH_INTERVAL_NS
        self._gate.mark_all(self._book.exposure, now_ns)
        for breach in find_breaches(self._book.exposure, self._gate.limits, now_ns):
            self._on_breach(breach, now_ns)
        silent_ns = self._dialogue.silent_ns(now_ns)
        if silent_ns > self._contact_lost_ns_max:
            detail = f"the exchange gateway has not answered for {silent_ns / NS_PER_MS:.0f} ms"
            self._stop(ALL, TradingState.HALTED, "contact:exchange", detail, now_ns)
        if self._dialogue.account.has_mismatch:
            detail = "positions or cash differ from the exchange's account: see the alarms"
            self._stop(ALL, TradingState.HALTED, RECONCILIATION, detail, now_ns)
        self._enforce(now_ns)

    def _on_breach(self, breach: Breach, now_ns: int) -> None:
        margin = breach.margin
        state = TradingState.HALTED if margin is None else TradingState.REDUCING
        if self._stop(breach.scope, state, f"limit:{breach.code.value}", breach.detail, now_ns) and margin is not None:
            self._facts.publish(
                MarginCalled(
                    **DRAFT,
                    timestamp_ns=now_ns,
                    currency=margin.currency,
                    balance=margin.balance,
                    required=margin.required,
                )
            )

    def _stop(self, scope: str, state: TradingState, by: str, detail: str, now_ns: int) -> bool:
        """Tighten a scope, and tell people; False where it is as strict already."""
        entries = self._switch.tighten(scope, state, by=by, reason=detail, now_ns=now_ns)
        for entry in entries:
            self._facts.learn(entry)
            self._facts.alarm("TRADING_STOPPED", Severity.CRITICAL, scope, f"{by}: {detail}", now_ns)
        return bool(entries)

    # Taking back

    def _enforce(self, now_ns: int) -> int:
        """Cancel every working order that may not be there any more."""
        if all(scope.state is not TradingState.HALTED for scope in self._switch.scopes()):
            return 0
        return self._cancel_where(self._is_halted, now_ns, is_for_all=self._switch.scopes()[0].state == "halted")

    def _cancel(self, scope: str, now_ns: int) -> int:
        return self._cancel_where(
            lambda order: covers(scope, order.signal.strategy, order.signal.exchange, order.signal.symbol),
            now_ns,
            is_for_all=scope == ALL,
        )

    def _cancel_where(self, is_meant: Callable[[Order], bool], now_ns: int, *, is_for_all: bool) -> int:
        orders = [order for order in self._book.working_orders() if not order.is_cancel_wanted and is_meant(order)]
        if not orders:
            return 0
        self._facts.learn_all([CancelIntended(now_ns, order.client_order_id) for order in orders])
        answered = [order for order in orders if not order.is_unanswered]
        if is_for_all and len(answered) > 1:
            self._dialogue.cancel_all(now_ns)
        else:
            self._dialogue.cancel_first(answered, now_ns)
        return len(orders)

    def _is_halted(self, order: Order) -> bool:
        signal = order.signal
        return self._switch.state(signal.strategy, signal.exchange, signal.symbol) is TradingState.HALTED
