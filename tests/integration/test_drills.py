"""Faults on real processes: a bounded slice of `tickpulse chaos --processes`, and the audit that judges them."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pipeline import run_tickpulse

from chaos.drills.audit import audit
from chaos.drills.host import STRATEGIES, Host
from chaos.drills.lossy_disk import missing_reason
from chaos.drills.scenarios import DRILLS, Setting
from common.errors import ExitCode
from executor.service import JOURNAL_NAME

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]
FAULTS = 5


@pytest.mark.skipif(missing_reason() is not None, reason=str(missing_reason()))
@pytest.mark.timeout(110)
def test_faults_of_every_kind_leave_books_that_agree() -> None:
    """Lost 0, duplicated 0, unresolved 0, each recovered within 5 s; the witness is the venue's own ledger."""
    done = run_tickpulse("chaos", "--processes", "--faults", str(FAULTS), "--first", "10053", "--json", timeout_s=100)

    report = json.loads(done.stdout)
    wrong = {name: report[name] for name in ("lost", "duplicated", "unresolved", "differing", "failures")}
    assert wrong == {name: [] for name in wrong}
    assert done.returncode == ExitCode.OK
    assert sum(row["injected"] for row in report["scenarios"]) == FAULTS
    assert {DRILLS[row["scenario"]].setting for row in report["scenarios"]} == set(Setting) - {Setting.RECORDED}
    assert min(report["signals"], report["orders"], report["fills"]) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--processes", "--simulated"), "say which layer"),
        (("--processes", "--scenario", "storm"), "expected one of crash_points"),
        (("--simulated", "--scenario", "torn_tail"), "expected one of calm"),
        (("--processes", "--faults", "0"), "not in the range"),
    ],
)
def test_wrong_options_are_named(options: tuple[str, ...], message: str) -> None:
    """Each layer has its own troubles."""
    done = run_tickpulse("chaos", *options)

    assert done.returncode == ExitCode.USAGE
    assert message in done.stderr


@pytest.fixture(scope="module")
def ended() -> Iterator[Host]:
    """A pipeline that has traded for a moment and was stopped in order."""
    with Host(tick_count=5) as host:
        for name in ("exchange", "executor", "gateway", "alpha", "beta"):
            host.start(name)
        host.wait_ready()
        assert host.wait(lambda: all(count >= 5 for count in host.accepted().values()), 20)
        assert host.stop_all() == {}
        yield host


def tamper(path: Path, statement: str, *arguments: Any) -> None:
    """Change a file behind the back of whoever wrote it."""
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, arguments).rowcount > 0
        if path.name == JOURNAL_NAME:
            # A hole in the numbers would be seen at once; whoever tampers closes it.
            connection.execute(
                "UPDATE entries SET seq = (SELECT count(*) FROM entries old WHERE old.seq <= entries.seq)"
            )
    connection.close()


@pytest.mark.parametrize(
    ("kind", "file", "statement"),
    [
        ("lost", JOURNAL_NAME, "DELETE FROM entries WHERE kind = 'denied' OR subject = 'nothing'"),
        (
            "lost",
            "alpha.outbox.sqlite",
            "INSERT INTO instructions (number, id, body) VALUES (999999, 'alpha-1-1', x'80')",
        ),
        (
            "unresolved",
            JOURNAL_NAME,
            "DELETE FROM entries WHERE seq > (SELECT max(seq) FROM entries WHERE kind = 'intent')",
        ),
        ("duplicated", "ledger.sqlite", "UPDATE orders SET client_order_id = 'again' WHERE arrival_number = 1"),
        ("differing", "ledger.sqlite", "UPDATE orders SET filled_quantity = '0.5' WHERE status = 'filled'"),
        ("differing", "ledger.sqlite", "UPDATE executions SET quantity = '7' WHERE execution_type = 'trade'"),
    ],
)
def test_audit_sees_what_was_tampered_with(ended: Host, kind: str, file: str, statement: str) -> None:
    """A witness that never says anything would let everything pass."""
    path = ended.run_directory.file("state", file)
    kept = path.read_bytes()
    assert audit(ended.run_directory, STRATEGIES).is_clean

    tamper(path, statement)
    found = audit(ended.run_directory, STRATEGIES)
    path.write_bytes(kept)

    assert getattr(found, kind)
    assert audit(ended.run_directory, STRATEGIES).is_clean


def test_audit_of_a_cut_journal_forgives_what_it_forgot_and_nothing_else(ended: Host) -> None:
    """The orders that it knows have to agree all the same."""
    journal, ledger = (ended.run_directory.file("state", name) for name in (JOURNAL_NAME, "ledger.sqlite"))
    kept = {path: path.read_bytes() for path in (journal, ledger)}

    tamper(journal, "DELETE FROM entries WHERE kind = 'denied'")
    forgetful = audit(ended.run_directory, STRATEGIES, is_journal_cut=True)
    tamper(ledger, "UPDATE orders SET filled_quantity = '0.5' WHERE status = 'filled'")
    differing = audit(ended.run_directory, STRATEGIES, is_journal_cut=True)
    for path, content in kept.items():
        path.write_bytes(content)

    assert forgetful.is_clean
    assert differing.differing
