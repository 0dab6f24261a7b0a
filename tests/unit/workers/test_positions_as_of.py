import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.message_builders import make_tick
from support.replay_builders import LOG_NS, write_log

from common.cli import main
from common.clock import NS_PER_S
from common.events.base import Message
from common.events.trading import PositionClosed, PositionEvent, PositionModified, PositionOpened
from common.store.memory import MemoryStore
from common.store.projection import Snapshots, rebuild
from common.store.times import format_time_ns
from workers.positions_as_of import HeldPositions


def make_event(kind: type[PositionEvent], after_s: int, quantity: str, **changes: Any) -> PositionEvent:
    """What the executor tells of a position so long after the log begins."""
    fields: dict[str, Any] = {
        "source": "executor",
        "epoch": 1,
        "seq": after_s + 1,
        "timestamp_ns": LOG_NS + after_s * NS_PER_S,
        "exchange": "simulated",
        "symbol": "BTC/USDT",
        "strategy": "momentum",
        "quantity": Decimal(quantity),
        "entry_price": Decimal("60000.123456789012"),
        "mark_price": Decimal(60000),
        "realised_pnl": Decimal("1.50"),
        "unrealised_pnl": Decimal("-0.25"),
        "fees": Decimal("0.1"),
    }
    return kind(**{**fields, **changes})


EVENTS: list[Message] = [
    make_event(PositionOpened, 0, "0.5"),
    make_tick(1, timestamp_ns=LOG_NS + NS_PER_S),
    make_event(PositionOpened, 2, "-3", symbol="ETH/USDT", strategy="mean"),
    make_event(PositionModified, 4, "0.75"),
    make_event(PositionClosed, 6, "0", entry_price=None, mark_price=None),
]


def positions_at(path: Path, after_s: int, *arguments: str) -> Result:
    """`tickpulse positions --as-of TIME --store ADDRESS`."""
    moment = format_time_ns(LOG_NS + after_s * NS_PER_S)
    return CliRunner().invoke(main, ["positions", "--as-of", moment, "--store", f"jsonl:{path}", *arguments])


@pytest.mark.parametrize(
    ("after_s", "held", "last_id"),
    [
        (-1, {}, 0),
        (0, {"momentum": "0.5"}, 1),
        (1, {"momentum": "0.5"}, 2),
        (3, {"mean": "-3", "momentum": "0.5"}, 3),
        (5, {"mean": "-3", "momentum": "0.75"}, 4),
        (60, {"mean": "-3"}, 5),
    ],
)
def test_positions_are_those_of_that_time(tmp_path: Path, after_s: int, held: dict[str, str], last_id: int) -> None:
    """Asked twice: from the log, then from the snapshot that the first answer left."""
    path = write_log(tmp_path / "log", EVENTS)

    for _ in range(2):
        result = positions_at(path, after_s, "--json")
        answer = json.loads(result.stdout)
        assert {row["strategy"]: row["quantity"] for row in answer["positions"]} == held
        assert answer["last_id"] == last_id


def test_positions_for_people_say_which_record_they_stand_at(tmp_path: Path) -> None:
    """Flat ones only where asked for."""
    path = write_log(tmp_path / "log", EVENTS)

    some = positions_at(path, 9)
    every = positions_at(path, 9, "--all", "--symbol", "BTC/USDT")

    assert "simulated.ETH/USDT" in some.stdout
    assert "momentum" not in some.stdout
    assert "as of record 5 of the event log" in some.stdout
    assert "momentum" in every.stdout
    assert "ETH/USDT" not in every.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--as-of", "2024-01-01"], 2, "--as-of TIME and --store ADDRESS together"),
        (["--store", "jsonl:log"], 2, "--as-of TIME and --store ADDRESS together"),
        (["--as-of", "noon", "--store", "jsonl:log"], 2, "ISO 8601"),
        (["--as-of", "2024-01-01", "--store", "nowhere/at/all"], 78, "expected one of"),
    ],
)
def test_wrong_question_is_told(arguments: list[str], code: int, what: str) -> None:
    """With the exit code of its kind."""
    result = CliRunner().invoke(main, ["positions", *arguments])

    assert result.exit_code == code
    assert what in result.stderr


def test_any_point_from_snapshots_equals_the_fold_from_the_beginning(tmp_path: Path) -> None:
    """A thousand random events, to the last digit of every amount."""
    source = random.Random(5)
    store, snapshots = MemoryStore(), Snapshots(tmp_path)
    for number in range(1_000):
        quantity = str(source.randrange(-9, 9))
        changes = {"symbol": source.choice(["A/B", "C/D"]), "strategy": source.choice(["x", "y", "z"])}
        store.append(make_event(PositionModified, number, quantity, **changes), LOG_NS + number)
    rebuild(store, HeldPositions, snapshots, save_every=150)

    for as_of_id in source.sample(range(1, 1_001), 40):
        found = rebuild(store, HeldPositions, snapshots, as_of_id=as_of_id)
        assert found.projection.newest == rebuild(store, HeldPositions, as_of_id=as_of_id).projection.newest
        assert found.snapshot_id == as_of_id // 150 * 150
