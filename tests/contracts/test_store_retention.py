"""What retention removes is no damage, in whatever format; anything else is."""

from pathlib import Path
from typing import Any

import pytest
from support.message_builders import NOW_NS, make_tick
from support.message_samples import sample_message
from support.store_logs import COUNT, LOGS, JsonlLog, Log

from common.clock import NS_PER_S
from common.events.market import Tick
from common.events.registry import type_name
from common.events.system import LogPruned
from common.events.trading import OrderFilled
from common.store.jsonl import pruning
from common.store.retention import Policy
from common.store.selection import Selection
from common.store.sqlite import pruning as sqlite_pruning


@pytest.fixture(params=LOGS)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    """A log that nobody has touched."""
    return LOGS[request.param](tmp_path)


class TestRetention:
    """What is removed on purpose is no damage; anything else is."""

    @pytest.fixture
    def mixed(self, log: Log) -> Log:
        """An order event after every tenth tick."""
        filled = sample_message(OrderFilled)
        with log.write() as store:
            for seq in range(61, 121):
                store.append(make_tick(seq) if seq % 10 else filled, NOW_NS + seq)
        return log

    def prune(self, log: Log, **policy: object) -> None:
        """Apply a policy an hour after the log began."""
        with log.write() as store:
            store.prune(Policy(**policy), NOW_NS + 3_600 * NS_PER_S)  # type: ignore[arg-type]

    def kinds(self, log: Log) -> dict[str, int]:
        """How many of each type are left."""
        with log.read() as store:
            return store.stats().types

    def test_old_ticks_go_orders_stay_and_the_log_is_whole(self, mixed: Log) -> None:
        """Reading goes over the holes."""
        before = self.kinds(mixed)

        self.prune(mixed, older_than_ns=NS_PER_S)

        after = self.kinds(mixed)
        assert after[type_name(OrderFilled)] == before[type_name(OrderFilled)] == 6
        assert 0 < after[type_name(Tick)] < 20
        verification = mixed.verify()
        assert verification.damages == []
        assert any("retention took out" in note for note in verification.notes)
        assert len(mixed.ids()) == sum(after.values())
        with mixed.read() as store:
            assert len(list(store.read())) == sum(after.values())

    def test_pruning_again_and_again_stays_whole(self, mixed: Log) -> None:
        """Holes grow together."""
        for round_number in range(4):
            self.prune(mixed, older_than_ns=NS_PER_S)
            with mixed.write() as store:
                for seq in range(20):
                    store.append(make_tick(1_000 + round_number * 20 + seq), NOW_NS)
            assert mixed.verify().damages == []

        self.prune(mixed, ages_ns={type_name(OrderFilled): NS_PER_S})
        assert mixed.verify().damages == []
        assert mixed.ids() == sorted(mixed.ids())

    def test_size_takes_the_oldest(self, log: Log) -> None:
        """Until it fits."""
        with log.read() as store:
            size_bytes = store.stats().size_bytes

        self.prune(log, size_bytes_max=size_bytes // 2)

        assert log.verify().damages == []
        with log.read() as store:
            assert 0 < store.stats().records < COUNT * 3 // 4
        assert [record_id for record_id in log.ids() if record_id <= COUNT][-1] == COUNT

    def test_dry_run_changes_nothing_and_tells_the_same(self, mixed: Log) -> None:
        """So that one can look first."""
        policy = Policy(older_than_ns=NS_PER_S)
        with mixed.read() as store:
            ids = [record.id for record in store.get_events()]
            planned = store.prune(policy, NOW_NS + 3_600 * NS_PER_S, is_dry_run=True)
        assert mixed.ids() == ids

        with mixed.write() as store:
            assert store.prune(policy, NOW_NS + 3_600 * NS_PER_S).records_of_type == planned.records_of_type

    @pytest.mark.parametrize("applied", range(5))
    def test_crash_while_pruning_leaves_a_whole_log(
        self, mixed: Log, applied: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At whatever segment it stops; the next pruning takes the rest."""
        module, name = (pruning, "_apply") if isinstance(mixed, JsonlLog) else (sqlite_pruning, "delete")
        apply, calls = getattr(module, name), []

        def apply_some(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) > applied:
                raise KeyboardInterrupt
            apply(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(module, name, apply_some)
            with pytest.raises(KeyboardInterrupt):
                self.prune(mixed, older_than_ns=NS_PER_S)
        assert mixed.verify().damages == []
        with mixed.read() as store:
            assert len(list(store.read())) == store.stats().records

        self.prune(mixed, older_than_ns=NS_PER_S)

        assert mixed.verify().damages == []
        assert self.kinds(mixed).get(type_name(Tick), 0) < 20
        assert self.kinds(mixed)[type_name(OrderFilled)] == 6

    def test_removal_that_is_explained_behind_the_anchors_is_damage(self, mixed: Log) -> None:
        """Whoever has no key can write a chain that holds, but nothing that is anchored."""
        anchors = {path: path.read_bytes() for path in Path(f"{mixed.path}.anchors").iterdir()}
        self.prune(mixed, older_than_ns=NS_PER_S)
        for path, content in anchors.items():
            path.write_bytes(content)

        damages = mixed.verify().damages

        assert damages
        assert "has no anchor" in damages[-1].what

    def test_removal_beyond_what_the_log_says_is_damage(self, mixed: Log) -> None:
        """A hole covers its own records only."""
        self.prune(mixed, older_than_ns=NS_PER_S)
        mixed.remove(mixed.ids()[-3])

        assert not mixed.verify().is_whole

    def test_changed_word_of_a_removal_is_damage(self, mixed: Log) -> None:
        """The event that explains a hole is part of the chain."""
        self.prune(mixed, older_than_ns=NS_PER_S)
        with mixed.read() as store:
            (marker,) = store.read(Selection(types=frozenset({LogPruned})))
        mixed.garble(marker.id)

        assert not mixed.verify().is_whole

    def test_room_is_used_again_or_given_back(self, log: Log) -> None:
        """A log that is pruned again and again does not grow."""
        sizes = []
        for round_number in range(1, 9):
            ticks = [make_tick(seq) for seq in range(round_number * 400, (round_number + 1) * 400)]
            with log.write() as store:
                store.append_batch(ticks, NOW_NS)
            self.prune(log, older_than_ns=NS_PER_S)
            with log.read() as store:
                sizes.append(store.stats().size_bytes)

        assert max(sizes) < 500_000  # of what would be 1 MB and more
        assert log.verify().damages == []
