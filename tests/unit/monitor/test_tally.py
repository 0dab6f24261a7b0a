"""Adding up reports over processes and over their lives."""

from support.report_builders import EPOCH, NOW_NS, make_latencies, make_report, make_tally

from common.events.system import ProcessState


def test_newest_report_of_a_life_counts() -> None:
    """Reports come by two ways, telemetry and file, and may overtake each other."""
    old = make_report(counters={"ticks_published": 5})
    new = make_report(counters={"ticks_published": 9}, timestamp_ns=NOW_NS + 1)

    tallies = [make_tally(old, new), make_tally(new, old), make_tally(new, new)]

    assert [tally.counters("gateway") for tally in tallies] == [{"ticks_published": 9}] * 3


def test_later_word_of_the_same_time_counts() -> None:
    """The clock may stand still between two reports."""
    ready = make_report()
    stopped = make_report(state=ProcessState.STOPPED)

    tally = make_tally(ready, stopped)

    assert [report.state for report in tally.newest()] == [ProcessState.STOPPED]


def test_counters_are_added_over_all_lives_of_a_process() -> None:
    """What was counted before a crash was counted."""
    tally = make_tally(
        make_report("momentum", counters={"signals_emitted": 5, "ticks_stale": 1}),
        make_report("momentum", epoch=EPOCH + 1, counters={"signals_emitted": 2}),
        make_report("momentum", epoch=EPOCH + 1, timestamp_ns=NOW_NS + 1, counters={"signals_emitted": 3}),
    )

    assert tally.counters("strategy") == {"signals_emitted": 8, "ticks_stale": 1}
    assert tally.restarts("momentum") == 1
    assert [report.epoch for report in tally.newest()] == [EPOCH + 1]


def test_counters_of_a_role_are_those_of_all_its_processes_or_of_one() -> None:
    """Of a role that never reported there are none."""
    tally = make_tally(
        make_report("momentum", counters={"signals_emitted": 5}),
        make_report("other", counters={"signals_emitted": 3}),
        make_report("gateway", counters={"signals_emitted": 100}),
    )

    assert tally.counters("strategy") == {"signals_emitted": 8}
    assert tally.counters("strategy", "other") == {"signals_emitted": 3}
    assert tally.counters("exchange") == {}
    assert {life.source for life in tally.lives("strategy")} == {"momentum", "other"}


def test_processes_are_listed_by_role_and_name() -> None:
    """However they came; the highest epoch is the newest life."""
    tally = make_tally(
        make_report("momentum", epoch=EPOCH + 9),
        make_report("gateway"),
        make_report("exchange"),
        make_report("a_strategy"),
        make_report("momentum", epoch=EPOCH, timestamp_ns=NOW_NS + 5),
    )

    assert [(report.source, report.epoch) for report in tally.newest()] == [
        ("exchange", EPOCH),
        ("gateway", EPOCH),
        ("a_strategy", EPOCH),
        ("momentum", EPOCH + 9),
    ]


def test_process_that_was_never_restarted_has_no_restarts() -> None:
    """Its first start is none."""
    assert make_tally(make_report("gateway")).restarts("gateway") == 0


def test_latencies_of_all_lives_are_one_distribution() -> None:
    """A restarted executor does not forget its slowest answer."""
    tally = make_tally(
        make_report("executor", latencies=make_latencies(1_000_000, 1_000_000)),
        make_report("executor", epoch=EPOCH + 1, latencies=make_latencies(9_000_000)),
        make_report("gateway"),
    )

    latency = tally.latency("tick_to_ack")

    assert latency.count == 3
    assert tally.latency("unheard_of").count == 0


def test_process_is_unready_until_it_says_otherwise() -> None:
    """With what it waits for, if it says so."""
    tally = make_tally(
        make_report("gateway"),
        make_report("executor", state=ProcessState.STARTING, detail="the journal"),
        make_report("exchange", state=ProcessState.FAILED),
    )

    unready = tally.unready(["gateway", "executor", "exchange", "momentum"])

    assert unready == {"executor": "starting: the journal", "exchange": "failed", "momentum": "not started"}


def test_newest_life_decides_whether_a_process_is_ready() -> None:
    """The one before was ready; this one is not yet."""
    tally = make_tally(make_report("gateway"), make_report("gateway", epoch=EPOCH + 1, state=ProcessState.STARTING))

    assert tally.unready(["gateway"]) == {"gateway": "starting"}
