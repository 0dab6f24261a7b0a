"""Runs rules over the event stream, off the hot path, and tells what they find as alerts."""

import asyncio
from collections.abc import Callable
from importlib import import_module

import msgspec

from common.bus.worker import EventWorker, WorkerContext
from common.clock import NS_PER_S
from common.errors import ConfigError, InvalidValueError
from common.events.base import DRAFT, Event
from common.events.risk import AlertTriggered
from common.rules import Finding, Rule, RuleEngine
from common.rules.finding import Output
from common.rules.shipped.fill_without_position import fill_without_position
from common.rules.shipped.momentum import momentum
from common.rules.shipped.spread_widening import spread_widening
from common.rules.shipped.volatility_burst import volatility_burst
from common.run_directory import replace_file
from workers.options import read_options

STATE_NAME = "rules.state"
# What has not come a second after its time is taken for absent.
LAG_NS = NS_PER_S
ADVANCE_S = 0.5
SAVE_EVERY = 20  # advances
SCOPE_CHARACTERS = 64

SHIPPED: dict[str, Callable[[], Rule]] = {
    "momentum": momentum,
    "spread_widening": spread_widening,
    "volatility_burst": volatility_burst,
    "fill_without_position": fill_without_position,
}


class RulesOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workers.options.rules]`. A rule of ticks makes this process read every tick."""

    enabled: tuple[str, ...] = ("fill_without_position",)  # shipped ones by name, own ones as `module:rule`


class Rules(EventWorker):
    """Feeds every event that some rule wants to one engine. Its state outlives a restart."""

    worker_name = "rules"

    async def start(self, context: WorkerContext) -> None:
        rules = [load_rule(name) for name in read_options(context, RulesOptions).enabled]
        self.interests = tuple(dict.fromkeys(kind for rule in rules for kind in rule.on if issubclass(kind, Event)))
        self._engine = RuleEngine(
            rules, on_failure=lambda name, error: context.log.warning("rule_failed", rule=name, reason=str(error))
        )
        self._path = context.state_directory / STATE_NAME
        self._load(context)
        self._task = asyncio.get_running_loop().create_task(self._advance(context))

    async def stop(self) -> None:
        if hasattr(self, "_task"):
            self._task.cancel()
            await asyncio.wait([self._task])
            self._save()

    def health(self) -> str | None:
        return f"{self._task.exception()}" if self._task.done() and not self._task.cancelled() else None

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        await self._tell(self._engine.feed(event), context)

    async def _advance(self, context: WorkerContext) -> None:
        """Let time pass for what waits for something that does not come; save the state now and then."""
        count = 0
        while True:
            await asyncio.sleep(ADVANCE_S)
            await self._tell(self._engine.advance(context.clock.now_ns() - LAG_NS), context)
            count += 1
            if count % SAVE_EVERY == 0:
                self._save()

    async def _tell(self, outputs: list[Output], context: WorkerContext) -> None:
        for output in outputs:
            if isinstance(output, Finding):
                await context.publish(alert_of(output))
            elif isinstance(output, Event):
                await context.publish(output)
            else:
                context.log.warning(
                    "rule_output_refused", type=type(output).__name__, reason="a worker sends events only"
                )

    def _save(self) -> None:
        replace_file(self._path, msgspec.msgpack.encode(self._engine.save_state()))

    def _load(self, context: WorkerContext) -> None:
        try:
            self._engine.load_state(msgspec.msgpack.decode(self._path.read_bytes()))
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, InvalidValueError) as error:
            context.log.warning("rules_begin_anew", path=str(self._path), reason=str(error))


def load_rule(name: str) -> Rule:
    """A shipped rule with its defaults, or one of your own.

    Raises:
        ConfigError: There is none of this name.
    """
    if name in SHIPPED:
        return SHIPPED[name]()
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"rule {name!r}: expected {', '.join(sorted(SHIPPED))} or module:rule, {error}; "
            "correct [workers.options.rules]"
        ) from error
    if not isinstance(found, Rule):
        raise ConfigError(f"rule {name!r}: expected what @rule makes, was {type(found).__name__}")
    return found


def alert_of(finding: Finding) -> AlertTriggered:
    """A finding as the event that everybody understands."""
    return AlertTriggered(
        **DRAFT,
        timestamp_ns=finding.timestamp_ns,
        scope=f"symbol:{finding.exchange}.{finding.symbol}"[:SCOPE_CHARACTERS],
        code=finding.rule.upper(),
        severity=finding.severity,
        detail=finding.detail,
        cause_id=finding.cause_id,
    )
