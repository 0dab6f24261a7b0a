import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.message_builders import NOW_NS, make_tick, make_ticks
from support.message_samples import sample_message

from common.events.trading import OrderFilled
from common.store.address import open_store
from common.store.memory import MemoryStore
from common.store_command import digest_of, follow, store


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A log of ten ticks, a group of four and a fill."""
    monkeypatch.chdir(tmp_path)
    with open_store("jsonl:log", is_writer=True) as opened:
        opened.append_batch([make_tick(seq, symbol=f"S{seq % 2}") for seq in range(1, 11)], NOW_NS)
        opened.append_batch([make_ticks(14, 4), sample_message(OrderFilled)], NOW_NS)
    return "jsonl:log"


def invoke(*arguments: str, **options: Any) -> Result:
    """Run the command."""
    return CliRunner().invoke(store, list(arguments), **options)


def ids(result: Result) -> list[int]:
    """The records that were printed."""
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def damage_line(number: int) -> None:
    """Change a price in the log."""
    path = Path("log/00000001.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[number] = lines[number].replace(b"99.5", b"98.5")
    path.write_bytes(b"\n".join(lines))


class TestVerify:
    """Its exit code is the answer."""

    def test_whole_log_is_0(self, address: str) -> None:
        """And says how much it looked at."""
        result = invoke("verify", address)

        assert (result.exit_code, result.stdout) == (0, "whole: 12 records, up to id 12\n")

    def test_damaged_log_is_1_and_the_first_bad_place_comes_first(self, address: str) -> None:
        """As file and line, which an editor can open."""
        damage_line(5)

        result = invoke("verify", address)
        as_json = json.loads(invoke("verify", address, "--json").stdout)

        assert result.exit_code == 1
        assert result.stdout.startswith("log/00000001.jsonl:6: record 5 is not what was written")
        assert as_json["result"] == "damaged"
        assert as_json["damages"][0]["place"] == "log/00000001.jsonl:6"

    @pytest.mark.parametrize("missing", ["anchors", "log"])
    def test_what_could_not_be_checked_is_2(self, address: str, missing: str) -> None:
        """No anchors, or no log: neither whole nor damaged."""
        if missing == "log":
            address = "jsonl:elsewhere"
        else:
            Path("log.anchors").rename("gone")

        result = invoke("verify", address, "--json")

        assert result.exit_code == 2
        assert json.loads(result.stdout)["result"] == "unknown"
        assert result.stderr.startswith("could not check: ")

    def test_anchors_may_be_elsewhere(self, address: str) -> None:
        """Where whoever writes the log cannot write."""
        Path("log.anchors").rename("apart")

        assert invoke("verify", address, "--anchors", "apart").exit_code == 0


class TestLooking:
    """stats, cat and tail."""

    def test_stats_for_people_and_programs(self, address: str) -> None:
        """The same counts."""
        assert "records  12, ids 1 to 12" in invoke("stats", address).stdout
        assert json.loads(invoke("stats", "log", "--json").stdout)["records"] == 12

    def test_cat_filters_by_time_type_and_symbol(self, address: str) -> None:
        """Flat JSON, one record a line; times as ISO 8601 or ns."""
        assert sorted(ids(invoke("cat", address))) == [*range(1, 13)]
        assert ids(invoke("cat", address, "--symbol", "S1")) == [1, 3, 5, 7, 9]
        assert ids(invoke("cat", address, "--type", "order_*")) == [12]
        assert ids(invoke("cat", address, "--from", "2023-11-14T22:13:20.000000003", "--to", str(NOW_NS + 6))) == [
            3,
            4,
            5,
        ]
        assert ids(invoke("cat", address, "--from-id", "11")) == [11, 12]
        ticks = json.loads(invoke("cat", address, "--from-id", "11").stdout.splitlines()[0])["ticks"]
        assert [tick["bid"] for tick in ticks] == [99.5] * 4

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("--from", "yesterday"), "expected ISO 8601"),
            (("--from", "2026-01-02", "--to", "2026-01-01"), "expected from <= to"),
            (("--type", "tock"), "type 'tock'"),
        ],
    )
    def test_what_cannot_be_asked_is_a_usage_error(self, address: str, arguments: tuple[str, ...], text: str) -> None:
        """With what was expected."""
        result = invoke("cat", address, *arguments)

        assert result.exit_code == 2
        assert text in result.stderr

    def test_reader_that_has_seen_enough_is_no_error(self, address: str) -> None:
        """As `| head` does."""
        read_end, write_end = os.pipe()
        os.close(read_end)
        command = [sys.executable, "-c", "from common.store_command import store; store()", "cat", address]

        done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False, env=environment())
        os.close(write_end)

        assert (done.returncode, done.stderr) == (0, b"")

    def test_tail_is_the_newest(self, address: str) -> None:
        """Filters look at those."""
        assert ids(invoke("tail", address, "-n", "3")) == [10, 11, 12]
        assert ids(invoke("tail", address, "-n", "3", "--type", "tick")) == [10, 11]

    def test_following_goes_on_with_what_comes(self) -> None:
        """It waits only where there is nothing."""
        log = MemoryStore()
        log.append(make_tick(1), NOW_NS)
        records = follow(log, 1, lambda: log.append(make_tick(log.last_id + 1), NOW_NS))

        assert [next(records).id for _ in range(3)] == [1, 2, 3]

    def test_damage_ends_it_with_the_place_and_without_a_traceback(self, address: str) -> None:
        """What came before it was printed."""
        damage_line(5)

        result = invoke("cat", address)

        assert result.exit_code == 1
        assert "log/00000001.jsonl:6:" in result.stderr

    @pytest.mark.parametrize("wrong", ["jsonl:nowhere", "nowhere", "csv:log", "jsonl:"])
    def test_address_of_no_store_is_bad_config(self, address: str, wrong: str) -> None:
        """A person must name another one."""
        result = invoke("stats", wrong)

        assert result.exit_code == 78
        assert "expected" in result.stderr


def environment() -> dict[str, str]:
    """So that a process elsewhere imports what is tested."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


class TestChanging:
    """convert, prune and repair."""

    def test_convert_is_a_copy_with_the_same_ids(self, address: str) -> None:
        """Compared by reading both."""
        result = invoke("convert", address, "jsonl:copy")

        assert result.exit_code == 0
        assert result.stdout.startswith("12 records from jsonl:log to jsonl:copy; both read alike")
        with open_store(address) as old, open_store("jsonl:copy") as new:
            assert digest_of(new.get_events()) == digest_of(old.get_events())
        assert invoke("verify", "jsonl:copy").exit_code == 0

    def test_convert_into_a_log_that_is_there_is_refused(self, address: str) -> None:
        """It would mix two."""
        invoke("convert", address, "jsonl:copy")

        result = invoke("convert", address, "jsonl:copy")

        assert result.exit_code == 78
        assert "expected a new one" in result.stderr

    def test_prune_needs_to_be_told_what(self, address: str) -> None:
        """Nothing goes by accident."""
        assert invoke("prune", address).exit_code == 2
        assert "expected TYPE=AGE" in invoke("prune", address, "--type", "tick").stderr
        assert "expected a whole number" in invoke("prune", address, "--max-size", "much").stderr

    def test_prune_keeps_the_newest_segment(self, address: str) -> None:
        """A log that has one segment loses nothing."""
        result = invoke("prune", address, "--older-than", "1s", "--json")

        assert result.exit_code == 0
        assert json.loads(result.stdout)["records_of_type"] == {}
        assert ids(invoke("cat", address, "--from-id", "1")) == [*range(1, 13)]

    def test_repair_makes_a_damaged_log_whole(self, address: str) -> None:
        """It tells what it did, and `verify` tells it ever after."""
        damage_line(5)

        result = invoke("repair", address)

        assert result.exit_code == 0
        assert "moved 00000001.jsonl to quarantine/" in result.stdout
        verified = invoke("verify", address)
        assert verified.exit_code == 0
        assert "note: record 13: quarantine took out 12 records, in 1 to 12" in verified.stdout
        assert invoke("repair", address).stdout == "nothing to repair\n"
