"""The deciding half of the executor: messages and a time in; journal entries, requests and events out.

Pure but for its ports: a journal that makes entries durable, a publisher that numbers events, a source of references.
The order of every step is the promise: decide, make durable, then act and tell. This is the side of the strategies;
`dialogue` is that of the exchange.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from common.events.base import DRAFT, Message
from common.events.risk import CircuitState, ControlAnswered, ControlRequested, Severity, TradingState
from common.events.trading import (
    Acknowledgement,
    AmendRequested,
    CancelRequested,
    OrderStatus,
    Signal,
    StateReported,
    StateRequested,
)
from common.events.venue import ExecutionReported
from common.ids import make_client_order_id
from common.instruments import InstrumentTable
from common.metrics import Latency
from common.money import EXACT, is_bounded
from executor.config import ExecutorConfig
from executor.dialogue import ExchangeDialogue
from executor.digest import digest_of
from executor.entries import AmendIntended, CancelIntended, OrderIntended, Outcome, SignalConflicted, SignalDenied
from executor.facts import Facts, Journal
from executor.gate import RiskGate
from executor.holding import HeldInstructions, Instruction
from executor.intake import UnreadableSignal
from executor.limits import RiskLimits
from executor.orders import Order
from executor.records import SignalRecord
from executor.requests import Request
from executor.risk import FindReference, Reason, Refusal
from executor.safety import Safety

LATENCY_NAMES = ("tick_to_signal", "signal_to_executor", "executor_to_ack", "tick_to_ack")
AMENDABLE_STATUSES = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})


class Executor:
    """Decides what becomes of every instruction."""

    def __init__(
        self,
        *,
        epoch: int,
        config: ExecutorConfig,
        instruments: InstrumentTable,
        journal: Journal,
        find_reference: FindReference,
        send: Callable[[Request], None],
        publish: Callable[[Message], None],
    ) -> None:
        """Rebuild what is known from the journal. `recover` then asks the exchange for the rest."""
        self.facts = Facts(journal, publish, config)
        self.book = self.facts.book
        self.counts = self.facts.counts
        self.latencies = {name: Latency() for name in LATENCY_NAMES}
        self.dialogue = ExchangeDialogue(self.facts, config, epoch, find_reference, send, self._record_ack)
        self.line = self.dialogue.line
        self._config = config
        self.gate = RiskGate(config, instruments, find_reference)
        self.safety = Safety(self.facts, self.gate, self.dialogue, config, instruments)
        self._held = HeldInstructions(held_ms_max=config.held_ms_max, held_max=config.held_instructions_max)

    @property
    def is_recovered(self) -> bool:
        """Tell whether everything that was open at the start has been settled with the exchange."""
        return self.dialogue.account.is_reconciled

    def recover(self, now_ns: int) -> None:
        """Settle with the exchange what the journal does not know; no instruction is taken before that is done."""
        for detail in self.facts.unusable_snapshots:
            self.facts.alarm("SNAPSHOT_UNUSABLE", Severity.WARNING, "journal", detail, now_ns)
        self.dialogue.recover(now_ns)

    def rest(self, *, is_idle: bool) -> None:
        """The end of a turn: the moment for what must not stand in an order's way."""
        self.facts.rest(is_idle=is_idle)

    def begin_stop(self) -> None:
        """Let the next start be short."""
        self.facts.keep_snapshot(entries_min=1)

    # Strategies

    def on_signal(self, signal: Signal, now_ns: int) -> None:
        """Take a signal: act on a new one, answer again for a known one, refuse another body under a known id."""
        self.counts["signals_received"] += 1
        self._take(signal, signal.signal_id, now_ns)

    def on_cancel(self, request: CancelRequested, now_ns: int) -> None:
        """Cancel the order of a signal, if it is still working and belongs to who asks."""
        if request.request_id is None:
            self._apply_cancel(request, now_ns)
        else:
            self._take(request, request.request_id, now_ns)

    def on_amend(self, request: AmendRequested, now_ns: int) -> None:
        """Ask the exchange for other terms of a working order."""
        self._take(request, request.request_id, now_ns)

    def on_unreadable_signal(self, unreadable: UnreadableSignal, now_ns: int) -> None:
        """Refuse a signal that has an id but not the fields of a signal."""
        self.counts["signals_received"] += 1
        record = self.book.record_of(unreadable.signal_id)
        if record is not None:
            self._on_known(record, unreadable, unreadable.digest, now_ns)
            return
        self._deny(unreadable, unreadable.digest, Refusal(Reason.MALFORMED, unreadable.detail), now_ns)
        self._release(unreadable.strategy, unreadable.signal_id, now_ns)

    def on_state_request(self, request: StateRequested, now_ns: int) -> None:
        """Tell a strategy where it stands; and people, when it has forgotten what it did."""
        strategy, last_id = request.strategy, self.book.last_ids.get(request.strategy)
        is_known = request.last_id is not None and self.book.record_of(request.last_id) is not None
        if last_id is not None and (request.last_id is None or (is_known and request.last_id != last_id)):
            self.counts["strategies_forgetful"] += 1
            detail = f"it knows of {request.last_id or 'nothing'}, its newest instruction here is {last_id}"
            self.facts.alarm("STRATEGY_STATE_LOST", Severity.WARNING, strategy, detail, now_ns)
        self.facts.publish(
            StateReported(
                **DRAFT,
                timestamp_ns=now_ns,
                strategy=strategy,
                request_id=request.request_id,
                open_orders=self.book.open_orders_of(strategy),
                positions=self.book.positions_of(strategy),
                last_id=last_id,
            )
        )

    # Exchange

    def on_answer(self, answer: Message, now_ns: int) -> None:
        """Take an answer of the exchange."""
        self.dialogue.on_answer(answer, now_ns)

    def on_execution(self, report: ExecutionReported, now_ns: int) -> None:
        """Take an execution report."""
        self.dialogue.on_execution(report, now_ns)

    def ask_for_executions(self, now_ns: int) -> None:
        """Ask for every execution after the last one known."""
        self.dialogue.ask_for_executions(now_ns)

    def on_time(self, now_ns: int) -> None:
        """Let time pass: for the dialogue, and for instructions that waited too long for the one before them."""
        self.dialogue.on_time(now_ns)
        self.safety.on_time(now_ns)
        while (instruction := self._held.take_overdue(now_ns)) is not None:
            self.counts["instructions_overdue"] += 1
            self._apply_overdue(instruction, now_ns)

    # People

    def on_control(self, request: ControlRequested, now_ns: int) -> ControlAnswered:
        """Obey an operator's command, or say why not."""
        return self.safety.on_control(request, now_ns)

    def set_limits(self, limits: RiskLimits) -> None:
        """Take other limits, from the next signal on.

        Raises:
            ConfigError: A limit is of a symbol that is not in the table; the limits stay as they were.
        """
        self.gate.set_limits(limits)

    def counters(self) -> dict[str, int]:
        """Everything counted so far, by name."""
        scopes = self.book.kill_switch.scopes()
        return {
            **self.counts,
            "is_halted": int(scopes[0].state is TradingState.HALTED),
            "scopes_restricted": sum(scope.state is not TradingState.ACTIVE for scope in scopes),
            "orders_working": len(self.book.working_orders()),
            "requests_waiting": len(self.line),
            "instructions_held": len(self._held),
            "last_execution_number": self.book.last_execution_number,
        }

    # Order of instructions

    def _take(self, instruction: Instruction, instruction_id: str, now_ns: int) -> None:
        record = self.book.record_of(instruction_id)
        if record is not None:
            self._on_known(record, instruction, digest_of(instruction), now_ns)
            return
        follows = instruction.follows
        if follows is not None and self.book.record_of(follows) is None:
            is_held = self._held.hold(instruction, follows, now_ns)
            self.counts["instructions_put_off" if is_held else "instructions_not_held"] += 1
            return
        self._apply(instruction, now_ns)
        self._release(instruction.strategy, instruction_id, now_ns)

    def _release(self, strategy: str, instruction_id: str, now_ns: int) -> None:
        """Apply what waited for a verdict, and what waited for that."""
        while (successor := self._held.take_successor(strategy, instruction_id)) is not None:
            instruction_id = _id_of(successor)
            if self.book.record_of(instruction_id) is None:
                self._apply(successor, now_ns)

    def _apply_overdue(self, instruction: Instruction, now_ns: int) -> None:
        """What it follows never came. A cancel does no harm; anything else might undo a later decision."""
        instruction_id = _id_of(instruction)
        if self.book.record_of(instruction_id) is not None:
            return
        if isinstance(instruction, CancelRequested):
            self._apply_cancel(instruction, now_ns)
        else:
            detail = f"{instruction.follows}, which it follows, did not come within {self._config.held_ms_max} ms"
            self._deny(instruction, digest_of(instruction), Refusal(Reason.PREDECESSOR_MISSING, detail), now_ns)
        self._release(instruction.strategy, instruction_id, now_ns)

    def _apply(self, instruction: Instruction, now_ns: int) -> None:
        match instruction:
            case Signal():
                self._apply_signal(instruction, now_ns)
            case CancelRequested():
                self._apply_cancel(instruction, now_ns)
            case AmendRequested():
                self._apply_amend(instruction, now_ns)

    # Deciding

    def _apply_signal(self, signal: Signal, now_ns: int) -> None:
        order_id = make_client_order_id(signal.signal_id)
        refusal = self._find_refusal(signal, now_ns)
        if self.book.orders_adopted and self.book.find_order(order_id) is not None:
            detail = f"order {order_id} is there already: a journal that forgot it has adopted it"
            refusal = Refusal(Reason.ORDER_ADOPTED, detail)
        if refusal is not None:
            self._deny(signal, digest_of(signal), refusal, now_ns)
            return
        entry = OrderIntended(now_ns, signal, order_id)
        self.facts.write_ahead(entry)
        # The intent is durable, so the order leaves before anything else: nobody needs the rest as soon.
        order = Order(client_order_id=order_id, signal=signal)
        self.dialogue.submit(order, self.book.orders_intended + 1, now_ns)
        self.facts.apply(entry)
        if signal.trigger_timestamp_ns is not None:
            self.latencies["tick_to_signal"].record(signal.timestamp_ns - signal.trigger_timestamp_ns)
            self.latencies["signal_to_executor"].record(now_ns - signal.timestamp_ns)

    def _apply_cancel(self, request: CancelRequested, now_ns: int) -> None:
        order = self._order_of(request.signal_id, request.strategy)
        if order is None or order.is_final:
            self.counts["cancels_without_order"] += 1
            detail = f"{request.signal_id}: no order of {request.strategy} is working"
            self._deny_request(request, request.request_id, Refusal(Reason.NO_WORKING_ORDER, detail), now_ns)
            return
        if order.is_cancel_wanted and request.request_id is None:
            self.counts["cancels_without_order"] += 1
            return
        self.counts["cancels_received"] += 1
        is_repeat = order.is_cancel_wanted
        self.facts.learn(CancelIntended(now_ns, order.client_order_id, request))
        if not is_repeat:
            self.dialogue.cancel(self.book.order(order.client_order_id), now_ns)

    def _apply_amend(self, request: AmendRequested, now_ns: int) -> None:
        order = self._order_of(request.signal_id, request.strategy)
        refusal = self._find_amend_refusal(request, order, now_ns)
        if refusal is not None or order is None:
            self._deny_request(request, request.request_id, refusal, now_ns)
            return
        self.counts["amends_received"] += 1
        quantity, limit_price = _new_terms(order, request)
        self.facts.learn(AmendIntended(now_ns, order.client_order_id, request, quantity, limit_price))
        self.dialogue.replace(self.book.order(order.client_order_id), now_ns)

    def _find_amend_refusal(self, request: AmendRequested, order: Order | None, now_ns: int) -> Refusal | None:
        if order is None or order.is_final:
            return Refusal(Reason.NO_WORKING_ORDER, f"{request.signal_id}: no order of {request.strategy} is working")
        if order.status not in AMENDABLE_STATUSES or order.limit_price is None:
            return Refusal(
                Reason.NOT_AMENDABLE,
                f"expected a limit order that works and has no change under way, was {order.status.value}",
            )
        quantity, limit_price = _new_terms(order, request)
        leaves = quantity if not is_bounded(quantity) else EXACT.subtract(quantity, order.filled_quantity)
        wanted = msgspec.structs.replace(
            order.signal, quantity=leaves, limit_price=limit_price, expires_ns=request.expires_ns
        )
        return self._find_refusal(wanted, now_ns, replaced=order)

    def _find_refusal(self, signal: Signal, now_ns: int, replaced: Order | None = None) -> Refusal | None:
        if self.dialogue.circuit.state is not CircuitState.CLOSED:
            return Refusal(Reason.CIRCUIT_OPEN, "the exchange gateway does not answer; a probe is sent now and then")
        return self.gate.find_refusal(
            signal,
            self.book.exposure,
            waiting_count=len(self.line),
            now_ns=now_ns,
            trading_state=self.book.kill_switch.state(signal.strategy, signal.exchange, signal.symbol),
            replaced=replaced,
        )

    def _deny_request(
        self, request: CancelRequested | AmendRequested, request_id: str | None, refusal: Refusal | None, now_ns: int
    ) -> None:
        if request_id is not None and refusal is not None:
            self._deny(request, digest_of(request), refusal, now_ns)

    def _deny(self, instruction: Instruction | UnreadableSignal, digest: str, refusal: Refusal, now_ns: int) -> None:
        is_request = isinstance(instruction, CancelRequested | AmendRequested)
        self.counts["requests_denied" if is_request else "signals_denied"] += 1
        self.counts[f"denied_{refusal.reason.value.lower()}"] += 1
        self.facts.learn(
            SignalDenied(
                timestamp_ns=now_ns,
                signal_id=_id_of(instruction),
                strategy=instruction.strategy,
                exchange=instruction.exchange,
                symbol=instruction.symbol,
                digest=digest,
                reason=refusal.reason.value,
                detail=refusal.detail,
                signal=instruction if isinstance(instruction, Signal) else None,
                is_request=is_request,
            )
        )

    def _on_known(
        self, record: SignalRecord, instruction: Instruction | UnreadableSignal, digest: str, now_ns: int
    ) -> None:
        if digest != record.digest:
            self.counts["signals_in_conflict"] += 1
            self.facts.learn(SignalConflicted(timestamp_ns=now_ns, signal_id=record.signal_id, digest=digest))
            detail = "this id was used before with another body; the first one stands"
            conflict = Outcome(Acknowledgement.CONFLICT, Reason.CONFLICT.value, detail)
            # To who asked: a strategy that takes another one's id must not end the other one's signal.
            asker = SignalRecord(
                signal_id=record.signal_id,
                strategy=instruction.strategy,
                exchange=instruction.exchange,
                symbol=instruction.symbol,
                digest=digest,
            )
            self.facts.publish(self.book.acknowledgement(asker, conflict, now_ns))
            return
        self.counts["signals_repeated"] += 1
        if record.outcome is not None:
            self.facts.publish(self.book.acknowledgement(record, record.outcome, now_ns))

    def _order_of(self, signal_id: str, strategy: str) -> Order | None:
        # An order that works is held. One that was forgotten is at its end: there is nothing to cancel or amend.
        record = self.book.signals.get(signal_id)
        order = None if record is None else self.book.orders.get(record.client_order_id or "")
        return order if order is not None and order.signal.strategy == strategy else None

    def _record_ack(self, signal: Signal, now_ns: int) -> None:
        if signal.trigger_timestamp_ns is not None:
            self.latencies["executor_to_ack"].record(now_ns - self.line.sent_ns)
            self.latencies["tick_to_ack"].record(now_ns - signal.trigger_timestamp_ns)


def _id_of(instruction: Instruction | UnreadableSignal) -> str:
    if isinstance(instruction, Signal | UnreadableSignal):
        return instruction.signal_id
    return instruction.request_id or ""


def _new_terms(order: Order, request: AmendRequested) -> tuple[Decimal, Decimal]:
    """Quantity and limit price as they will be; what the request leaves out stays. The order has a limit price."""
    limit_price = request.limit_price if request.limit_price is not None else order.limit_price
    quantity = order.quantity if request.quantity is None else request.quantity
    return quantity, limit_price if limit_price is not None else Decimal("NaN")
