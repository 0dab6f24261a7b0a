"""Which processes hang, and which only seem to."""

from common.beats import Beat
from common.clock import NS_PER_MS
from watchdog.config import WatchdogConfig
from watchdog.vigil import ELAPSED_NS_MAX, Hang, Vigil

CONFIG = WatchdogConfig(silence_ms_max=1_500, starting_ms_max=10_000)
PID = 4_711


class Watch:
    """A vigil that looks each 100 ms, and the beats that it sees."""

    def __init__(self, *names: str) -> None:
        self.vigil = Vigil(CONFIG)
        self.beats: dict[str, Beat] = {}
        self.now_ms = 0
        for name in names:
            self.vigil.begin(name, PID)

    def run(self, duration_ms: int, *beating: str) -> list[tuple[int, Hang]]:
        """Let time pass, while some processes beat; gives back each hang with its time in ms."""
        found = []
        for _ in range(duration_ms // 100):
            self.now_ms += 100
            for name in beating:
                self.beats[name] = Beat(PID, self.now_ms * NS_PER_MS, self.now_ms)
            found += [(self.now_ms, hang) for hang in self.vigil.look(self.now_ms * NS_PER_MS, self.beats.get)]
        return found


def test_process_that_beats_never_hangs() -> None:
    """However long it runs."""
    watch = Watch("gateway")

    assert watch.run(60_000, "gateway") == []


def test_silence_is_found_at_its_limit_and_in_nobody_else() -> None:
    """1.5 s after its last beat."""
    watch = Watch("gateway", "executor")
    watch.run(1_000, "gateway", "executor")

    found = watch.run(2_000, "gateway")

    assert found == [(2_500, Hang(name="executor", pid=PID, silent_ns=1_500 * NS_PER_MS, is_opening=False))]


def test_process_that_turns_without_having_work_is_alive() -> None:
    """While it settles it counts no turns, but beats."""
    watch = Watch("gateway")
    for number in range(50):
        watch.beats["gateway"] = Beat(PID, number, 7)
        assert watch.run(100) == []


def test_process_that_is_opening_has_longer() -> None:
    """A long journal is no hang; ten seconds of it are."""
    watch = Watch("executor")
    watch.beats["executor"] = Beat(PID, 0, 0)

    found = watch.run(11_000)

    assert [(ms, hang.is_opening) for ms, hang in found] == [(10_100, True)]


def test_beat_of_an_earlier_life_gives_the_next_one_time_to_open() -> None:
    """It imports its modules yet, and has written nothing."""
    watch = Watch("executor")
    watch.beats["executor"] = Beat(PID - 1, 0, 5_000)

    assert watch.run(9_900) == []
    assert len(watch.run(200)) == 1


def test_program_that_never_beats_is_none_of_ours() -> None:
    """A host may run others under the same supervisord."""
    watch = Watch("redis")

    assert watch.run(60_000) == []


def test_suspended_machine_says_nothing_about_its_processes() -> None:
    """An hour passed for nobody: they have their time to beat again, and one that does not is found."""
    watch = Watch("gateway", "executor")
    watch.run(1_000, "gateway", "executor")

    watch.now_ms += 3_600_000
    found = watch.run(2_000, "gateway")

    assert [hang.name for _, hang in found] == ["executor"]
    assert found[0][0] == 1_000 + 3_600_000 + 1_500 - ELAPSED_NS_MAX // NS_PER_MS + 100


def test_program_that_is_being_stopped_is_not_judged() -> None:
    """Supervisord has its own patience for that."""
    watch = Watch("gateway")
    watch.run(1_000, "gateway")

    watch.vigil.end("gateway")

    assert watch.run(60_000) == []
    assert len(watch.vigil) == 0


def test_new_life_begins_anew_and_the_same_one_does_not() -> None:
    """Its predecessor's silence is not its own; an event that is told twice changes nothing."""
    watch = Watch("gateway")
    watch.run(1_000, "gateway")
    watch.run(1_400)

    watch.vigil.begin("gateway", PID)
    assert len(watch.run(100)) == 1
    watch.vigil.begin("gateway", PID + 1)
    assert watch.run(9_000) == []


def test_process_that_goes_on_hanging_is_told_ever_more_rarely() -> None:
    """Somebody debugs it for an hour: a few lines, not thousands. A beat makes it new again."""
    watch = Watch("gateway")
    watch.run(100, "gateway")

    assert [ms - 100 for ms, _ in watch.run(12_500)] == [1_500, 3_000, 6_000, 12_000]
    watch.run(100, "gateway")
    assert len(watch.run(1_500)) == 1
