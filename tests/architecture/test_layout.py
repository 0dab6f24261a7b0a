"""The shape of the code: what a process folder holds, how large a file may be, what stands at the root."""

import ast
import configparser
import functools
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from common.config import load
from common.run_directory import RunDirectory

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parents[2]
PROCESSES = ("gateway", "exchange", "strategy", "executor", "monitor", "watchdog", "workers", "recorder")
ROOT_FILES = {
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "DECISIONS.md",
    "EVENTS.md",
    "README.md",
    "pyproject.toml",
    "supervisord.conf",
    "tickpulse.toml",
}
FILE_LINES_MAX = 450  # the executor's core is the one file above 400
FUNCTION_LINES_MAX = 66
# Most front doors have 30 lines. Those of strategy are more, because its options are checked there, but no logic.
MAIN_LINES_MAX = {"strategy": 80}
MAIN_LINES_MAX_USUAL = 50
EMPTY_NAMES = {"manager", "managers", "helper", "helpers", "util", "utils", "utilities", "misc", "stuff"}
REMINDER = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")

each_process = pytest.mark.parametrize("process", PROCESSES)


def files(*suffixes: str) -> list[Path]:
    """Files of ours with one of these endings, by their path from the root; what runs and tools leave is not ours."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in {"run", "build"}]
    ours = [path for path in folders if not path.name.startswith(".") and not path.name.endswith(".egg-info")]
    found = [
        *(path for path in ROOT.iterdir() if not path.name.startswith(".coverage")),
        *(path for folder in ours for path in folder.rglob("*")),
    ]
    return sorted(path.relative_to(ROOT) for path in found if path.is_file() and path.suffix in suffixes)


@pytest.fixture(scope="module")
def python_files() -> list[Path]:
    """All Python files of ours."""
    return files(".py")


@functools.cache
def parse(path: Path) -> ast.Module:
    """A file of ours as a tree."""
    return ast.parse((ROOT / path).read_bytes())


@functools.cache
def functions_of(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods of a file."""
    return [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@each_process
def test_process_folder_states_its_contract(process: str) -> None:
    """What comes in, what goes out, what it owns and what it never does."""
    docstring = ast.get_docstring(parse(Path(process, "__init__.py"))) or ""

    title, *lines = docstring.splitlines()
    assert title.startswith(f"{process.capitalize()}: ")
    assert [line.split(":")[0] for line in lines if re.match(r"[A-Z][a-z]+:", line)] == ["In", "Out", "Owns", "Never"]


@each_process
def test_process_folder_has_a_thin_front_door(process: str) -> None:
    """Arguments, config, run: what the process does is elsewhere."""
    source = (ROOT / process / "__main__.py").read_text()

    assert len(source.splitlines()) <= MAIN_LINES_MAX.get(process, MAIN_LINES_MAX_USUAL)
    assert re.search(r'if __name__ == "__main__":\n    \w+\(\)\n$', source)


@each_process
def test_process_folder_has_a_config_and_one_module_that_does(process: str) -> None:
    """The monitor watches and draws: it runs in no process loop, so its sockets are in `watch`, not in `service`."""
    module = "watch.py" if process == "monitor" else "service.py"

    assert (ROOT / process / "config.py").is_file()
    assert (ROOT / process / module).is_file()


@each_process
def test_process_is_a_command_and_a_config_table(process: str) -> None:
    """`tickpulse gateway`, `python -m gateway` and `[gateway]` are one name."""
    (command,) = entry_points(group="tickpulse.commands", name=process)
    (table,) = entry_points(group="tickpulse.config", name=process)

    assert command.value == f"{process}.__main__:{process}"
    assert table.module == f"{process}.config"


def test_root_holds_the_known_files_only() -> None:
    """Few files, all of them true. What is new there is decided here."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607  # wherever git is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("needs a git checkout, which tells our files from what tools have left")

    assert {name for name in listing.stdout.splitlines() if "/" not in name} <= ROOT_FILES


def test_no_module_is_named_like_one_of_the_standard_library(python_files: list[Path]) -> None:
    """A folder on the path would hide it from everybody."""
    packages = {part for path in python_files if path.parts[0] != "tests" for part in path.parts[:1]}
    stems = {path.stem for path in python_files if path.parts[0] != "tests"} - {"__init__", "__main__"}

    # Inside a package these are never imported by their bare name; at the top they would be.
    assert packages & sys.stdlib_module_names == set()
    assert stems & sys.stdlib_module_names == set()


def test_no_module_has_a_name_that_says_nothing(python_files: list[Path]) -> None:
    """Whatever it is, it has a better name."""
    words = {path: set(re.split(r"[_/.]", str(path.with_suffix("")))) for path in python_files}

    assert [path for path, parts in words.items() if parts & EMPTY_NAMES] == []


def test_no_file_is_too_long(python_files: list[Path]) -> None:
    """Most have under 150 lines."""
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in python_files}

    product = {path: length for path, length in lengths.items() if not path.startswith("tests/")}
    assert {path: length for path, length in product.items() if length > FILE_LINES_MAX} == {}


def test_no_function_is_too_long(python_files: list[Path]) -> None:
    """Most have under 15 lines."""
    too_long = [
        f"{path}:{function.lineno} {function.name}"
        for path in python_files
        for function in functions_of(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    ]

    assert too_long == []


def test_every_module_says_what_it_is_for(python_files: list[Path]) -> None:
    """A test file is named after what it tests; everything else has a docstring."""
    silent = [path for path in python_files if not path.name.startswith("test_") and not ast.get_docstring(parse(path))]

    assert silent == []


def test_every_test_states_its_promise(python_files: list[Path]) -> None:
    """The name tells the situation and the outcome, the docstring why it matters."""
    silent = [
        f"{path}:{function.lineno} {function.name}"
        for path in python_files
        if path.name.startswith("test_")
        for function in functions_of(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]

    assert silent == []


def test_nothing_is_left_for_later() -> None:
    """Reminders do not reach main."""
    reminders = [
        f"{path}:{number}"
        for path in files(".py", ".toml", ".md", ".conf", ".sh", "")
        for number, line in enumerate((ROOT / path).read_text().splitlines(), start=1)
        if REMINDER.search(line)
    ]

    assert reminders == []


def test_tests_are_no_package(python_files: list[Path]) -> None:
    """They are imported by path, so two may have one name."""
    assert [path for path in python_files if path.parts[0] == "tests" and path.name == "__init__.py"] == []


# What is run.


def supervised_programs() -> dict[str, configparser.SectionProxy]:
    """The programs of supervisord.conf; the watchdog is one that supervisord talks to."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read(ROOT / "supervisord.conf")
    kinds = ("program:", "eventlistener:")
    return {name.partition(":")[2]: parser[name] for name in parser.sections() if name.startswith(kinds)}


def test_every_process_but_the_monitor_is_supervised() -> None:
    """The monitor is for a person at a terminal; each strategy is a program of its own."""
    subcommands = [shlex.split(program["command"])[1] for program in supervised_programs().values()]

    assert set(subcommands) == set(PROCESSES) - {"monitor"}


@pytest.mark.parametrize("name", supervised_programs())
def test_supervised_program_is_restarted_after_a_crash_and_not_after_a_mistake(name: str) -> None:
    """0 is an orderly end, 2 a wrong option, 78 a wrong config: a restart helps none of them."""
    program = supervised_programs()[name]

    assert program["exitcodes"] == "0,2,78"
    assert program["autorestart"] == "unexpected"
    assert program["startsecs"] == "0"


@pytest.mark.parametrize("name", supervised_programs())
def test_supervised_program_starts_a_command_that_there_is(name: str) -> None:
    """A strategy's name must be one that can be loaded."""
    executable, subcommand, *arguments = shlex.split(supervised_programs()[name]["command"])

    assert executable == "tickpulse"
    assert len(entry_points(group="tickpulse.commands", name=subcommand)) == 1
    if subcommand == "strategy":
        assert [len(entry_points(group="tickpulse.strategies", name=argument)) for argument in arguments] == [1]
        assert arguments == [name]


@pytest.mark.parametrize("name", supervised_programs())
def test_supervisor_waits_longer_than_an_orderly_stop_takes(name: str) -> None:
    """Otherwise the kill comes first."""
    stop_ms_max = load(ROOT / "tickpulse.toml", {}).settings().run.stop_ms_max

    assert int(supervised_programs()[name]["stopwaitsecs"]) * 1_000 > stop_ms_max


def test_default_config_file_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is known and typed, and its instruments make a table."""
    monkeypatch.chdir(ROOT)
    config = load(None, {})

    tables = {entry.name: config.section(entry.name, entry.load()) for entry in entry_points(group="tickpulse.config")}

    assert set(tables) == {*PROCESSES, "backtest", "store"}
    assert len(config.instruments()) >= 3
    assert config.run_directory().path == RunDirectory(ROOT / "run").path


@pytest.mark.parametrize("name", ["demo", "setup", "test"])
def test_script_is_executable(name: str) -> None:
    """README tells a newcomer to run it as it is."""
    assert os.access(ROOT / "scripts" / name, os.X_OK)
