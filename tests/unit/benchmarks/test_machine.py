"""Where a benchmark ran."""

from pathlib import Path

from benchmarks.machine import describe_machine, find_commit, find_cpu


def test_cpu_is_the_model_that_linux_names(tmp_path: Path) -> None:
    """The first core speaks for all."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast One\n")

    assert find_cpu(path) == "Fast One"


def test_system_without_cpuinfo_still_has_a_name(tmp_path: Path) -> None:
    """There is no such file on macOS."""
    assert find_cpu(tmp_path / "missing")


def test_directory_outside_a_checkout_has_no_commit(tmp_path: Path) -> None:
    """An installed copy, for one."""
    assert find_commit(tmp_path) == "unknown"


def test_description_names_everything_a_number_depends_on() -> None:
    """No field is empty."""
    machine = describe_machine()

    assert all((machine.cpu, machine.cores, machine.python, machine.pyzmq, machine.libzmq, machine.commit))
