"""Results as people read them."""

from support.benchmark_builders import make_latency_report, make_throughput_report

from benchmarks.results import Check
from benchmarks.tables import format_latency, format_throughput


def test_latency_table_shows_both_sides_the_machine_and_the_verdict() -> None:
    """All that a number needs to be worth something."""
    text = format_latency(make_latency_report(factors=[2]))

    for expected in ("Test CPU, 2 cores", "commit 0123456789ab", "floor: bare pyzmq", "p99.9", "2.00x", "must missed"):
        assert expected in text


def test_mismatch_stands_out() -> None:
    """In the line of the count that does not add up, and only there."""
    text = format_latency(make_latency_report(factors=[2], floor_check=Check("ticks published", 100, 99)))

    [line] = [line for line in text.splitlines() if "MISMATCH" in line]
    assert line.split() == ["floor:", "ticks", "published", "100", "99", "MISMATCH"]


def test_throughput_table_shows_each_way_and_its_share_of_the_floor() -> None:
    """With the spread of the rounds."""
    text = format_throughput(make_throughput_report())

    assert "one message per tick, on_tick" in text
    assert "45%" in text
    assert "1,200,000" in text
