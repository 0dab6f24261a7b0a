"""Notifications: which events go where, what a webhook that fails means, and how many a minute there are."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.worker_builders import Desk, until

from common.bus import Bus, PermanentError, TransientError
from common.bus.letters import MemoryLetterBox
from common.clock import NS_PER_S
from common.errors import ConfigError
from common.events.base import DRAFT
from common.events.risk import AlarmRaised, AlertTriggered, Severity
from workers.config import WorkersConfig
from workers.notifications import LOG_NAME, Notifications
from workers.registry import WorkerRegistry


class Webhook:
    """A local server that answers as told, 200 when nothing is told, and remembers what it got."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.answers: list[int | None] = []  # None: no answer until `release`
        self.release = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                answer = hook.answers.pop(0) if hook.answers else 200
                if answer is None:
                    hook.release.wait(20.0)
                    return
                self.send_response(answer)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that it has there
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        """End it."""
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A server on the loopback."""
    server = Webhook()
    yield server
    server.close()


def make_alarm(seq: int = 1, severity: Severity = Severity.CRITICAL) -> AlarmRaised:
    """Somebody must hear this."""
    fields = DRAFT | {"source": "executor", "epoch": 1, "seq": seq}
    return AlarmRaised(
        **fields, timestamp_ns=1, code="CIRCUIT_OPEN", severity=severity, subject="exchange", detail="silent"
    )


def to_webhook(webhook: Webhook, **rule: Any) -> dict[str, Any]:
    """Options that send alarms to the log and to a webhook."""
    both = {"name": "alarms", "topics": ["alarm.*.*"], "to": ["log", "webhook"], **rule}
    return {"webhook_url": webhook.url, "webhook_timeout_s": 0.2, "rules": [both]}


def tell(directory: Path, options: dict[str, Any], story: Callable[[Notifications, Desk], Any]) -> Desk:
    """Run a story with a worker of these options."""
    state = directory / "state"
    state.mkdir(exist_ok=True)
    desk = Desk(state, options)

    async def run() -> None:
        worker = Notifications()
        try:
            await worker.start(desk.context)
            await story(worker, desk)
        finally:
            await worker.stop()

    asyncio.run(run())
    return desk


def logged(directory: Path) -> list[dict[str, Any]]:
    """The lines of the log file."""
    path = directory / "logs" / LOG_NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def test_match_goes_to_log_and_webhook(tmp_path: Path, webhook: Webhook) -> None:
    """In words for people and whole for programs."""

    async def story(worker: Notifications, desk: Desk) -> None:
        await worker.process_event(make_alarm(), desk.context)

    tell(tmp_path, to_webhook(webhook), story)

    assert logged(tmp_path) == webhook.got
    [message] = webhook.got
    assert message["topic"] == "alarm.executor.CIRCUIT_OPEN"
    assert message["text"] == "alarm: code CIRCUIT_OPEN, severity critical, subject exchange, detail silent"
    assert message["event"]["severity"] == "critical"


def test_rule_selects_by_topic_and_severity(tmp_path: Path) -> None:
    """An event without a severity is not below one."""
    rule = {"name": "alarms", "topics": ["alarm.*.*"], "severity_min": "critical"}
    alert = AlertTriggered(**DRAFT, timestamp_ns=1, scope="all", code="X", severity=Severity.CRITICAL, detail="y")

    async def story(worker: Notifications, _desk: Desk) -> None:
        assert worker.interests == ("alarm.*.*",)
        assert worker.can_handle(make_alarm())
        assert not worker.can_handle(make_alarm(severity=Severity.WARNING))
        assert not worker.can_handle(alert)

    tell(tmp_path, {"rules": [rule]}, story)


@pytest.mark.parametrize("status", [500, 503, 429, None])
def test_webhook_that_fails_for_now_is_a_passing_failure(tmp_path: Path, webhook: Webhook, status: int | None) -> None:
    """Busy, broken or silent; the second try posts once and writes no second line."""
    webhook.answers = [status]

    async def story(worker: Notifications, desk: Desk) -> None:
        with pytest.raises(TransientError, match="expected"):
            await worker.process_event(make_alarm(), desk.context)
        await worker.process_event(make_alarm(), desk.context)

    tell(tmp_path, to_webhook(webhook), story)

    assert (len(webhook.got), len(logged(tmp_path))) == (2, 1)


@pytest.mark.parametrize("status", [301, 400, 404])
def test_webhook_that_refuses_is_a_lasting_failure(tmp_path: Path, webhook: Webhook, status: int) -> None:
    """Trying again would change nothing."""
    webhook.answers = [status]

    async def story(worker: Notifications, desk: Desk) -> None:
        with pytest.raises(PermanentError, match=f"was {status}; correct webhook_url"):
            await worker.process_event(make_alarm(), desk.context)

    tell(tmp_path, to_webhook(webhook), story)


def test_nobody_at_the_address_is_a_passing_failure(tmp_path: Path) -> None:
    """They may come back."""
    server = Webhook()
    server.close()

    async def story(worker: Notifications, desk: Desk) -> None:
        with pytest.raises(TransientError, match="ConnectError"):
            await worker.process_event(make_alarm(), desk.context)

    tell(tmp_path, to_webhook(server), story)


def test_rule_that_was_told_is_not_told_again_because_of_another(tmp_path: Path, webhook: Webhook) -> None:
    """Two rules, one event: only the post that failed is repeated."""
    options = to_webhook(webhook)
    options["rules"].append({"name": "all", "topics": ["*"], "to": ["webhook"]})
    webhook.answers = [200, 503]

    async def story(worker: Notifications, desk: Desk) -> None:
        with pytest.raises(TransientError):
            await worker.process_event(make_alarm(), desk.context)
        await worker.process_event(make_alarm(), desk.context)

    tell(tmp_path, options, story)

    assert [message["rule"] for message in webhook.got] == ["alarms", "all", "all"]


def test_webhook_gets_so_many_a_minute(tmp_path: Path, webhook: Webhook) -> None:
    """The log gets all; the next message says how many were held back; a repeated try is no further message."""
    webhook.answers = [200, 503]

    async def story(worker: Notifications, desk: Desk) -> None:
        await worker.process_event(make_alarm(1), desk.context)
        with pytest.raises(TransientError):
            await worker.process_event(make_alarm(2), desk.context)
        for seq in (2, 3, 4):
            await worker.process_event(make_alarm(seq), desk.context)
        desk.clock.advance_to(desk.clock.now_ns() + 60 * NS_PER_S)
        await worker.process_event(make_alarm(5), desk.context)
        await worker.process_event(make_alarm(6), desk.context)
        assert worker.counts == {"logged": 6, "posted": 4, "held_back": 2}

    tell(tmp_path, to_webhook(webhook, per_minute_max=2), story)

    assert [(message["event"]["seq"], message.get("held_back")) for message in webhook.got] == [
        (1, None),
        (2, None),
        (2, None),
        (5, 2),
        (6, None),
    ]
    assert len(logged(tmp_path)) == 6


def test_worker_on_a_bus_retries_and_gives_up(tmp_path: Path, webhook: Webhook) -> None:
    """503 twice is told in the end; 404 is a dead letter."""
    webhook.answers = [503, 503, 200, 404]

    class Hasty(Notifications):
        retry_delay_s = 0.001

    async def run() -> None:
        (tmp_path / "state").mkdir()
        desk = Desk(tmp_path / "state", to_webhook(webhook))
        async with Bus() as bus:
            registry = WorkerRegistry(bus, lambda _name: desk.context, WorkersConfig(), desk.context.log)
            registry.register(Hasty)
            async with registry:
                await until(lambda: registry.unready() is None)
                await bus.publish(make_alarm(1))
                await bus.publish(make_alarm(2))
                await bus.drain(20.0)
            assert isinstance(bus.letters, MemoryLetterBox)
            assert [letter.event_id for letter in bus.letters.letters] == [make_alarm(2).event_id()]

    asyncio.run(run())

    assert [message["event"]["seq"] for message in webhook.got] == [1, 1, 1, 2]
    assert len(logged(tmp_path)) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rules": [{"name": "a", "topics": ["*"], "to": ["webhook"]}]}, "expected webhook_url"),
        ({"rules": [{"name": "a", "topics": ["*"], "to": ["pager"]}]}, "pager"),
        ({"rules": [{"name": "a", "topics": ["Bad Topic."]}]}, "notification rule 'a'"),
        ({"rules": [{"name": "a", "topics": ["*"]}] * 2}, "names of their own"),
        ({"rules": [{"name": "a", "topics": []}]}, "topics"),
        ({"rules": []}, "rules"),
        ({"webhook": "http://x"}, "unknown field `webhook`"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    """At the start, by name."""

    async def story(_worker: Notifications, _desk: Desk) -> None:
        pytest.fail("it started")

    with pytest.raises(ConfigError, match=text):
        tell(tmp_path, options, story)
