"""Tells people: rules from the config decide which events go to a log file and to a webhook.

The log file gets every match. A webhook gets at most so many a minute for each rule; what is held back is counted, and
the next message says how many there were. A webhook that does not answer is tried again; one that refuses is not.
"""

from collections import Counter
from typing import Annotated, Any, Literal

import httpx
import msgspec

from common.bus import PermanentError, TransientError
from common.bus.worker import EventWorker, WorkerContext
from common.clock import NS_PER_S
from common.errors import ConfigError, InvalidValueError
from common.events.base import Event
from common.events.registry import type_name
from common.events.risk import Severity
from common.tables import format_time
from common.wire.topics import TopicPattern
from workers.options import read_options

LOG_NAME = "notifications.log"
SEVERITIES = tuple(Severity)
MINUTE_NS = 60 * NS_PER_S
TRY_AGAIN_STATUSES = frozenset({408, 425, 429})
IDENTITY = frozenset({"type", "source", "epoch", "seq", "timestamp_ns", "cause_id", "correlation_id"})


class NotificationRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events, and where to."""

    name: str
    topics: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    severity_min: Severity | None = None  # of events that have one
    to: tuple[Literal["log", "webhook"], ...] = ("log",)
    per_minute_max: Annotated[int, msgspec.Meta(gt=0)] = 30


DEFAULT_RULES = (
    NotificationRule(name="alarms", topics=("alarm.*.*", "risk_alert.*.*", "error.*.*"), severity_min=Severity.WARNING),
    NotificationRule(name="halts", topics=("trading_halted.*.*", "trading_resumed.*.*", "limit_breached.*.*")),
    NotificationRule(name="challenges", topics=("challenge_failed.*.*", "challenge_completed.*.*")),
)


class NotificationOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workers.options.notifications]`."""

    rules: Annotated[tuple[NotificationRule, ...], msgspec.Meta(min_length=1)] = DEFAULT_RULES
    webhook_url: str | None = None
    webhook_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 3.0


class RateLimit:
    """At most so many in each minute; counts what it held back. Pure."""

    def __init__(self, per_minute_max: int) -> None:
        self.held_back = 0
        self._per_minute_max = per_minute_max
        self._minute = -1
        self._count = 0

    def may_pass(self, now_ns: int) -> bool:
        """Tell whether one more may go now."""
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._count = minute, 0
        if self._count >= self._per_minute_max:
            self.held_back += 1
            return False
        self._count += 1
        return True


class Notifications(EventWorker):
    """Sends what the rules select."""

    worker_name = "notifications"
    max_retries = 5
    timeout_s = 30.0

    async def start(self, context: WorkerContext) -> None:
        self._options = check_options(read_options(context, NotificationOptions))
        self._patterns = {rule.name: [TopicPattern(topic) for topic in rule.topics] for rule in self._options.rules}
        self._limits = {rule.name: RateLimit(rule.per_minute_max) for rule in self._options.rules}
        self.interests = tuple(dict.fromkeys(topic for rule in self._options.rules for topic in rule.topics))
        self._path = context.state_directory.parent / "logs" / LOG_NAME
        self._path.parent.mkdir(exist_ok=True)
        self._client = httpx.AsyncClient(timeout=self._options.webhook_timeout_s)
        # Of the event in hand, which may be one that is tried again: its id, and what has gone out already.
        self._event_id = ""
        self._done: set[str] = set()
        self.counts: Counter[str] = Counter()

    async def stop(self) -> None:
        if hasattr(self, "_client"):
            await self._client.aclose()

    def can_handle(self, event: Event) -> bool:
        return any(self._selects(rule, event) for rule in self._options.rules)

    async def process_event(self, event: Event, context: WorkerContext) -> None:
        rules = [rule for rule in self._options.rules if self._selects(rule, event)]
        if event.event_id() != self._event_id:
            self._event_id, self._done = event.event_id(), set()
        if "log" not in self._done and any("log" in rule.to for rule in rules):
            with self._path.open("ab") as log:
                log.write(msgspec.json.encode(message_of(event, rules[0].name)) + b"\n")
            self._done.add("log")
            self.counts["logged"] += 1
        for rule in rules:
            if "webhook" in rule.to and f"webhook {rule.name}" not in self._done:
                await self._post(event, rule, context)
                self._done.add(f"webhook {rule.name}")

    def _selects(self, rule: NotificationRule, event: Event) -> bool:
        topic = event.topic().encode()
        if not any(pattern.matches(topic) for pattern in self._patterns[rule.name]):
            return False
        severity = getattr(event, "severity", None)
        if rule.severity_min is None or severity is None:
            return True
        return SEVERITIES.index(severity) >= SEVERITIES.index(rule.severity_min)

    async def _post(self, event: Event, rule: NotificationRule, context: WorkerContext) -> None:
        limit = self._limits[rule.name]
        # A second try of the same message is no further message.
        if f"passed {rule.name}" not in self._done:
            if not limit.may_pass(context.clock.now_ns()):
                self.counts["held_back"] += 1
                return
            self._done.add(f"passed {rule.name}")
        held_back = limit.held_back
        message = {**message_of(event, rule.name), **({"held_back": held_back} if held_back else {})}
        url = self._options.webhook_url or ""
        try:
            response = await self._client.post(url, content=msgspec.json.encode(message),
                                               headers={"content-type": "application/json"})  # fmt: skip
        except httpx.TransportError as error:
            raise TransientError(f"webhook {url}: expected an answer, {type(error).__name__} {error}") from error
        status = response.status_code
        if status >= 500 or status in TRY_AGAIN_STATUSES:
            raise TransientError(f"webhook {url}: expected 2xx, was {status}")
        if status >= 300:
            raise PermanentError(f"webhook {url}: expected 2xx, was {status}; correct webhook_url")
        limit.held_back -= held_back
        self.counts["posted"] += 1


def message_of(event: Event, rule: str) -> dict[str, Any]:
    """What a person or a program is told of an event."""
    body: dict[str, Any] = msgspec.to_builtins(event)
    facts = ", ".join(f"{name} {value}" for name, value in body.items() if name not in IDENTITY)
    return {
        "rule": rule,
        "time": format_time(event.timestamp_ns),
        "topic": event.topic(),
        "text": f"{event.kind.replace('_', ' ')}: {facts}",
        "type": type_name(type(event)),
        "event": body,
    }


def check_options(options: NotificationOptions) -> NotificationOptions:
    """Give options back when they can be used.

    Raises:
        ConfigError: A pattern is none, a name is taken twice, or a webhook is asked for and not named.
    """
    names = [rule.name for rule in options.rules]
    if len(set(names)) < len(names):
        raise ConfigError(f"notifications: expected rules with names of their own, was {', '.join(names)}")
    for rule in options.rules:
        try:
            for topic in rule.topics:
                TopicPattern(topic)
        except InvalidValueError as error:
            raise ConfigError(f"notification rule {rule.name!r}: {error}") from error
        if "webhook" in rule.to and not (options.webhook_url or "").startswith(("http://", "https://")):
            raise ConfigError(
                f'notification rule {rule.name!r}: expected webhook_url = "https://...", was {options.webhook_url!r}'
            )
    return options
