"""One history: the deciding code of all processes in one thread, and one seed that decides everything around it."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from chaos.disk import JournalWrite, LedgerWrite, OutboxWrite, VirtualFile, VirtualLedger, entries_of
from chaos.facts import Ending, Facts, Invariant
from chaos.faults import NETWORK_KINDS, TROUBLE_MS, Fault, FaultKind, Scenario
from chaos.ghost import Ghost
from chaos.invariants import AFTER_UNSYNCED_POWER_LOSS, INVARIANTS
from chaos.lives import Lives
from chaos.machine import CrashPoints, Machine, Node
from chaos.network import Network
from chaos.plans import Command, Plan
from chaos.processes.exchange import ExchangeNode
from chaos.processes.executor import CONFIG as EXECUTOR_CONFIG
from chaos.processes.executor import ExecutorNode
from chaos.processes.gateway import GatewayNode
from chaos.processes.rogue import RogueNode
from chaos.processes.strategy import StrategyNode
from chaos.safety_invariants import PERSON
from chaos.schedule import Schedule
from common.clock import NS_PER_MS, VirtualClock
from common.events.base import DRAFT
from common.events.risk import ControlRequested
from common.instruments import Instrument, InstrumentTable
from common.wire import codec
from executor.book import Book
from executor.entries import Entry

INSTRUMENTS = tuple(
    Instrument(
        exchange="simulated",
        symbol=symbol,
        raw_symbol=symbol.replace("/", ""),
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.0001"),
    )
    for symbol in ("BTC/USDT", "ETH/USDT")
)
STRATEGIES = {"alpha": 3, "beta": 5}  # ticks between two acts of each
SYNC_NS = 200 * NS_PER_MS  # how often the system writes back by itself what nobody asked it to sync
REST_MS_MAX = 4_000  # what has not come to rest so long after healing never will
LOOK_NS = 5 * NS_PER_MS


class World:
    """Gateway, exchange, executor and strategies, with everything that can go wrong between them."""

    def __init__(self, scenario: Scenario, seed: int, plan: Plan) -> None:
        self._random = Random(seed)
        self._plan = plan
        self._scenario = scenario
        self._seed = seed
        self.clock = VirtualClock()
        self.facts = Facts(
            invariants_of(scenario),
            reference_age_ns_max=EXECUTOR_CONFIG.reference_age_ms_max * NS_PER_MS,
            limits=plan.limits,
            is_venue_certain=plan.is_venue_certain,
        )
        self.facts.counts["venues uncertain"] += not plan.is_venue_certain
        self._digest = hashlib.sha256()
        self._schedule = Schedule(self.clock)
        self._network = Network(self._schedule, self._random, self.facts.counts)
        self._points = CrashPoints()
        self.journal: VirtualFile[JournalWrite] = VirtualFile(is_synced=scenario.is_synced)
        self.ledger: VirtualFile[LedgerWrite] = VirtualFile(is_synced=scenario.is_synced)
        self.outboxes: dict[str, VirtualFile[OutboxWrite]] = {
            name: VirtualFile(is_synced=scenario.is_synced) for name in STRATEGIES
        }
        self._healed_ns = 0
        self.rested_ms: float | None = None
        self._make_processes()
        self._connect()

    def run(self) -> Ending:
        """Live through what is planned, heal, come to rest, and judge."""
        began_ns = self.clock.now_ns()
        for process in self.processes.values():
            process.start()
        for fault in self._plan.faults:
            self._schedule.at(began_ns + fault.at_ms * NS_PER_MS, functools.partial(self._begin, fault))
        for command in self._plan.commands:
            self._schedule.at(began_ns + command.at_ms * NS_PER_MS, functools.partial(self._command, command))
        self._sync()
        self._run_until(began_ns + TROUBLE_MS * NS_PER_MS)
        self._heal()
        self._come_to_rest()
        ending = self._ending()
        self.facts.note_ending(ending)
        return ending

    def fingerprint(self) -> str:
        """Digest of every frame that was sent, with its channel and time, in order."""
        return self._digest.hexdigest()

    def _make_processes(self) -> None:
        self.processes: dict[str, Lives] = {}
        self._add("gateway", lambda machine: GatewayNode(machine, self._seed))
        exchange = self._add("exchange", self._make_exchange)
        executor = self._add("executor", lambda machine: ExecutorNode(machine, self.journal, self._plan.limits))
        for name in STRATEGIES:
            self._add(name, self._make_strategy)
        if self._scenario.has_rogue:
            self._add("rogue", RogueNode)
        exchange.is_error_expected = lambda: self.ledger.is_refusing or self._may_differ()
        executor.is_error_expected = lambda: self.journal.is_refusing or self._may_differ()

    def _add(self, name: str, make_node: Callable[[Machine], Node]) -> Lives:
        self.processes[name] = Lives(name, self._schedule, self.facts, self._machine, make_node)
        return self.processes[name]

    def _make_exchange(self, machine: Machine) -> ExchangeNode:
        return ExchangeNode(machine, self.ledger, self._plan.venue_faults, lambda: self._healed_ns > 0)

    def _make_strategy(self, machine: Machine) -> StrategyNode:
        file = self.outboxes[machine.name]
        return StrategyNode(machine, STRATEGIES[machine.name], file, is_resting=self._healed_ns > 0)

    def _connect(self) -> None:
        connect = {name: process.receive for name, process in self.processes.items()}
        strategies = [name for name in self.processes if name in STRATEGIES]
        listeners = [*strategies, *(["rogue"] if self._scenario.has_rogue else [])]
        for name in ("exchange", "executor", *strategies):
            self._network.connect("market", connect[name])
        for name in listeners:
            self._network.connect("events", connect[name])
        self._network.connect("signals", connect["executor"])
        self._network.connect("orders", connect["exchange"])
        self._network.connect("answers", connect["executor"])
        self._network.connect("executions", connect["executor"])
        self._network.connect("control", connect["executor"])

    def _machine(self, name: str, epoch: int) -> Machine:
        return Machine(
            name=name,
            epoch=epoch,
            clock=self.clock,
            instruments=InstrumentTable(list(INSTRUMENTS)),
            send=self._send,
            pass_point=self._points.pass_point,
            facts=self.facts,
        )

    def _send(self, channel: str, frame: bytes) -> None:
        self._digest.update(f"{self.clock.now_ns()} {channel} ".encode() + frame)
        self._network.send(channel, frame)

    # Faults

    def _begin(self, fault: Fault) -> None:
        counts = self.facts.counts
        if fault.kind in NETWORK_KINDS:
            self._network.begin(fault)
        elif fault.kind is FaultKind.KILL:
            counts["kills"] += self.processes[fault.target].node is not None
            self.processes[fault.target].kill(fault.duration_ms)
        elif fault.kind is FaultKind.KILL_INSIDE:
            self._points.arm(fault.target, fault.passage, fault.duration_ms)
        elif fault.kind is FaultKind.PAUSE:
            counts["pauses"] += self.processes[fault.target].node is not None
            self.processes[fault.target].pause(fault.duration_ms)
        elif fault.kind is FaultKind.TAKE_OVER:
            self._take_over(fault)
        elif fault.kind is FaultKind.DISK_REFUSES:
            self._refuse_writes(fault)
        else:
            self._lose_power(fault)

    def _refuse_writes(self, fault: Fault) -> None:
        file: VirtualFile[JournalWrite] | VirtualFile[LedgerWrite]
        file = self.journal if fault.target == "executor" else self.ledger
        file.is_refusing = True
        self.facts.counts["disk refusals"] += 1
        self._schedule.after(fault.duration_ms * NS_PER_MS, lambda: setattr(file, "is_refusing", False))

    def _lose_power(self, fault: Fault) -> None:
        self.facts.counts["power losses"] += 1
        for process in self.processes.values():
            process.kill(fault.duration_ms + self._random.randint(0, 50))
        for file in self._files():
            self.facts.counts["transactions cut"] += file.lose_power(self._random)

    def _take_over(self, fault: Fault) -> None:
        executor = self.processes["executor"]
        if not isinstance(executor.node, ExecutorNode):
            return
        counts = self.facts.counts
        counts["take-overs"] += 1
        old = executor.node
        executor.forget()
        ghost = Ghost(old, self._schedule, lambda: counts.update({"lives fenced": 1}))
        for channel in ("market", "signals", "answers"):
            self._network.connect(channel, ghost.receive)
        executor.start()
        is_replaced = functools.partial(self._has_heard_after, old.epoch)
        self._schedule.after(fault.duration_ms * NS_PER_MS, lambda: ghost.wake(is_replaced))

    def _has_heard_after(self, epoch: int) -> bool:
        exchange = self.processes["exchange"].node
        return isinstance(exchange, ExchangeNode) and exchange.ledger.epochs().get("executor", 0) > epoch

    def _command(self, command: Command) -> None:
        self.facts.counts[f"{command.action}s of people"] += 1
        now_ns = self.clock.now_ns()
        request = ControlRequested(
            **DRAFT,
            timestamp_ns=now_ns,
            request_id=f"control-{now_ns}",
            action=command.action,
            scope=command.scope,
            by=PERSON,
            reason="chaos",
        )
        self._send("control", codec.encode(request))

    def _sync(self) -> None:
        for file in self._files():
            file.sync()
        self._schedule.after(SYNC_NS, self._sync)

    def _files(self) -> list[VirtualFile[Any]]:
        return [self.journal, self.ledger, *self.outboxes.values()]

    def _may_differ(self) -> bool:
        # Files from different moments may contradict each other: then to refuse is the right answer.
        return self.facts.counts["transactions cut"] > 0

    # The end

    def _run_until(self, until_ns: int) -> None:
        is_reached = False

        def reach() -> None:
            nonlocal is_reached
            is_reached = True

        self._schedule.at(until_ns, reach)
        while not is_reached:
            self._schedule.step()

    def _heal(self) -> None:
        self._healed_ns = self.clock.now_ns()
        self._network.heal()
        self._points.disarm()
        self.journal.is_refusing = self.ledger.is_refusing = False
        self.processes.pop("rogue", None)
        for process in self.processes.values():
            process.resume()
            process.start()
            if isinstance(process.node, StrategyNode):
                process.node.rest()

    def _come_to_rest(self) -> None:
        end_ns = self._healed_ns + REST_MS_MAX * NS_PER_MS
        while not self._is_at_rest() and self.clock.now_ns() < end_ns:
            self._run_until(self.clock.now_ns() + LOOK_NS)
        if self._is_at_rest():
            self.rested_ms = (self.clock.now_ns() - self._healed_ns) / NS_PER_MS

    def _is_at_rest(self) -> bool:
        executor, exchange = self.processes["executor"].node, self.processes["exchange"].node
        if not (isinstance(executor, ExecutorNode) and isinstance(exchange, ExchangeNode)):
            return False
        is_booked = executor.core.book.last_execution_number == exchange.ledger.last_execution_number()
        if not (is_booked and executor.is_quiet and exchange.is_quiet):
            return False
        book = executor.core.book
        return all(
            isinstance(node, StrategyNode) and node.is_quiet and (self._are_views_astray or node.sees(book))
            for node in self._strategies().values()
        )

    @property
    def _are_views_astray(self) -> bool:
        # ZeroMQ never lets events of one connection overtake each other. Where we did, a strategy that heard of an
        # order's end before its cancel may take it for open until it asks again.
        return any(fault.kind is FaultKind.REORDER and fault.target == "events" for fault in self._plan.faults)

    def _strategies(self) -> dict[str, Node | None]:
        return {name: self.processes[name].node for name in STRATEGIES}

    def _ending(self) -> Ending:
        executor = self.processes["executor"].node
        witness = VirtualLedger(self.ledger, lambda _: None, self.facts)
        nodes = {name: node for name, node in self._strategies().items() if isinstance(node, StrategyNode)}
        entries = entries_of(self.journal)
        return Ending(
            entries=entries,
            book=_recall_all(executor.core.book, entries) if isinstance(executor, ExecutorNode) else None,
            orders=witness.orders,
            executions=witness.executions,
            unacknowledged={name: len(node.engine.outbox) for name, node in nodes.items()},
            is_at_rest=self.rested_ms is not None,
            probes_ms={name: self._probe_ms(nodes.get(name)) for name in STRATEGIES},
        )

    def _probe_ms(self, node: StrategyNode | None) -> float | None:
        if node is None or node.probe_ended_ns is None:
            return None
        return (node.probe_ended_ns - self._healed_ns) / NS_PER_MS


def _recall_all(book: Book, entries: Sequence[Entry]) -> Book:
    """A book that holds again whatever it has forgotten."""
    for entry in entries:
        if entry.order_id is not None:
            book.find_order(entry.order_id)
        if entry.instruction_id is not None:
            book.record_of(entry.instruction_id)
    return book


def invariants_of(scenario: Scenario) -> list[Invariant]:
    """The promises that hold in a scenario: all, but for files that were not synced."""
    if scenario.is_synced:
        return list(INVARIANTS)
    return [invariant for invariant in INVARIANTS if invariant.name in AFTER_UNSYNCED_POWER_LOSS]
