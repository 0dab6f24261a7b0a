"""What people get wrong: one clear message, no traceback, and an exit code that says whose turn it is."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from support.pipeline import Pipeline, run_tickpulse

pytestmark = [pytest.mark.processes, pytest.mark.unmeasured]

OK, FAULT, USAGE, NOT_READY, BAD_CONFIG = 0, 1, 2, 3, 78

# Everything that a case may name in its arguments, in a folder of its own.
FILES = {
    "unknown_key.toml": "[gateway]\nbathcing = true\n",
    "unknown_table.toml": "[gatway]\nfeed = 'synthetic'\n",
    "unknown_nested_key.toml": "[gateway.synthetic]\nrat = 5.0\n",
    "unknown_instrument_key.toml": "[[instruments]]\nexchange = 'simulated'\nsymbl = 'BTC/USDT'\n",
    "wrong_type.toml": "[gateway.synthetic]\nrate = 'fast'\n",
    "out_of_range.toml": "[executor]\nrequest_timeout_ms = 0\n",
    "bad_amount.toml": (
        "[[instruments]]\nexchange = 'simulated'\nsymbol = 'A/B'\nraw_symbol = 'AB'\n"
        "tick_size = 'NaN'\nlot_size = '1'\n"
    ),
    "listed_twice.toml": 2
    * "[[instruments]]\nexchange = 'simulated'\nsymbol = 'A/B'\nraw_symbol = 'AB'\ntick_size = '1'\nlot_size = '1'\n",
    "no_instruments.toml": "[run]\nlog_level = 'info'\n",
    "no_toml.toml": "[gateway\nfeed == ]]\n",
    "empty_capture": "",
    "garbage_capture": "not a capture\n" * 100,
    "of_other_streams": '1723161600000000000 {"stream":"btcusdt@kline_1m","data":{}}\n',
    "raising.py": "raise RuntimeError('half a strategy')\n",
    "classless.py": "NAME = 'nothing else'\n",
    "impostor.py": "class Impostor:\n    pass\n",
    "broken.py": "def on_tick(:\n",
}


class Case(NamedTuple):
    """A command line, its exit code, and what its message must say."""

    name: str
    arguments: str
    code: int
    words: tuple[str, ...]


CASES = (
    Case("config-missing", "gateway --config nowhere.toml", BAD_CONFIG, ("nowhere.toml", "No such file")),
    Case("config-folder", "gateway --config .", BAD_CONFIG, ("Is a directory",)),
    Case("config-no-toml", "gateway --config no_toml.toml", BAD_CONFIG, ("no_toml.toml: expected TOML",)),
    Case("key-unknown", "gateway --config unknown_key.toml", BAD_CONFIG, ("bathcing", "did you mean batching?")),
    Case("table-unknown", "executor --config unknown_table.toml", BAD_CONFIG, ("gatway", "did you mean gateway?")),
    Case("key-nested", "gateway --config unknown_nested_key.toml", BAD_CONFIG, ("synthetic.rat", "did you mean rate?")),
    Case("key-of-row", "gateway --config unknown_instrument_key.toml", BAD_CONFIG, ("symbl", "did you mean symbol?")),
    Case("key-by-set", "exchange --set exchange.simulatd.open_orders_max=1", BAD_CONFIG, ("--set", "mean simulated?")),
    Case("set-without-value", "exchange --set exchange", BAD_CONFIG, ("expected table.key=value",)),
    Case("set-into-value", "exchange --set run.directory.name=x", BAD_CONFIG, ("run.directory",)),
    Case("type", "gateway --config wrong_type.toml", BAD_CONFIG, ("wrong_type.toml: gateway.synthetic.rate", "float")),
    Case("range", "executor --config out_of_range.toml", BAD_CONFIG, ("executor.request_timeout_ms", "int")),
    Case("amount", "exchange --config bad_amount.toml", BAD_CONFIG, ("tick_size", "NaN")),
    Case("instrument-twice", "exchange --config listed_twice.toml", BAD_CONFIG, ("simulated.A/B is listed twice",)),
    Case("instruments-none", "gateway --config no_instruments.toml", BAD_CONFIG, ("at least one instrument",)),
    Case("check", "config check --config unknown_key.toml", BAD_CONFIG, ("did you mean batching?",)),
    Case("path-missing", "gateway --feed recorded --path nowhere.gz", BAD_CONFIG, ("nowhere.gz", "was missing")),
    Case("path-absent", "gateway --feed recorded", BAD_CONFIG, ("set gateway.recorded.path",)),
    Case("path-folder", "gateway --feed recorded --path .", BAD_CONFIG, ("was a directory",)),
    Case("capture-empty", "gateway --feed recorded --path empty_capture", BAD_CONFIG, ("was empty",)),
    Case("capture-garbage", "gateway --feed recorded --path garbage_capture", BAD_CONFIG, ("100 malformed", "line 1")),
    Case("capture-other", "gateway --feed recorded --path of_other_streams", BAD_CONFIG, ("1 of other streams",)),
    Case("demo-path-missing", "demo --feed recorded --path nowhere.gz", BAD_CONFIG, ("--path nowhere.gz",)),
    Case("demo-path-absent", "demo --feed recorded", BAD_CONFIG, ("name it with --path FILE",)),
    Case("demo-supervisor", "demo --supervisor-conf nowhere.conf", BAD_CONFIG, ("nowhere.conf: no such file",)),
    Case("endpoint", "exchange --set channels.market=nonsense", BAD_CONFIG, ("endpoint nonsense", "[channels]")),
    Case("strategy-unknown", "strategy momentun", BAD_CONFIG, ("'momentun': unknown", "did you mean momentum?")),
    Case("strategy-name", "strategy Bad-Name --as momentum", BAD_CONFIG, ("strategy name", "lower-case word")),
    Case("param-unknown", "strategy momentum --param risng=3", BAD_CONFIG, ("risng", "it takes:", "rising_ticks")),
    Case("param-range", "strategy momentum --param rising_ticks=0", BAD_CONFIG, ("rising_ticks",)),
    Case("param-type", "strategy momentum --param notional=much", BAD_CONFIG, ("notional",)),
    Case("param-equals", "strategy momentum --param rising_ticks", BAD_CONFIG, ("expected KEY=VALUE",)),
    Case("pattern", "strategy mine --set strategy.mine.instruments=['a']", BAD_CONFIG, ("exchange.symbol", "was 'a'")),
    Case("module-missing", "strategy mine --as nowhere:Mine", BAD_CONFIG, ("module nowhere cannot be imported",)),
    Case("module-raises", "strategy mine --as raising:Mine", BAD_CONFIG, ("RuntimeError: half a strategy",)),
    Case("module-syntax", "strategy mine --as broken:Mine", BAD_CONFIG, ("broken", "SyntaxError")),
    Case("class-missing", "strategy mine --as classless:Mine", BAD_CONFIG, ("has no class 'Mine'",)),
    Case(
        "class-foreign", "strategy mine --as impostor:Impostor", BAD_CONFIG, ("a subclass of strategy.base.Strategy",)
    ),
    Case("directory-is-file", "exchange --run-dir empty_capture", BAD_CONFIG, ("run directory", "--run-dir")),
    Case("monitor-no-terminal", "monitor", BAD_CONFIG, ("expected a terminal",)),
    Case("option", "gateway --speeed 2", USAGE, ("--speeed",)),
    Case("choice", "gateway --feed telepathy", USAGE, ("telepathy",)),
    Case("number", "demo --duration soon", USAGE, ("--duration",)),
    Case("number-negative", "demo --duration -1", USAGE, ("--duration",)),
    Case("argument-missing", "strategy", USAGE, ("NAME",)),
    Case("command", "gatewy", USAGE, ("gatewy",)),
    Case("wait", "wait --ready --timeout 0.2", NOT_READY, ("gateway: not started", "executor: not started")),
    Case("status", "status", NOT_READY, ("nothing has run in",)),
    Case("ledger", "ledger", NOT_READY, ("ledger.sqlite", "start `tickpulse exchange`")),
    Case("orders", "orders", NOT_READY, ("journal.sqlite", "has an executor run there?")),
)


@contextmanager
def furnished_folder() -> Iterator[Path]:
    """Where a command is run: with the files above, without a pipeline, and with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))
    for name, content in FILES.items():
        (path / name).write_text(content)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for one command."""
    with furnished_folder() as path:
        yield path


def run_case(case: Case) -> subprocess.CompletedProcess[str]:
    """Run a case in a folder of its own."""
    with furnished_folder() as path:
        return run_tickpulse(*case.arguments.split(), cwd=path)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """All cases, on their way: each is a start of Python, and two fit on two cores."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {case.name: pool.submit(run_case, case) for case in CASES}
        pool.shutdown(cancel_futures=True)


def assert_one_message(stderr: str, *words: str) -> None:
    """What was wrong is said once, and it is no story of our own code."""
    messages = [line for line in stderr.splitlines() if line.startswith("Error:")]
    assert len(messages) == 1, stderr
    assert "Traceback" not in stderr
    for word in words:
        assert word in stderr


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input_is_one_message_and_an_exit_code(
    outcomes: dict[str, Future[subprocess.CompletedProcess[str]]], case: Case
) -> None:
    """Nothing starts, and the message names what is wrong."""
    done = outcomes[case.name].result(timeout=50)

    assert done.returncode == case.code, done.stderr
    assert_one_message(done.stderr, *case.words)
    assert not done.stdout


def test_bad_value_from_the_environment_is_placed_there(folder: Path) -> None:
    """The message names the variable, so that nobody searches the file for it."""
    done = run_tickpulse("gateway", cwd=folder, TICKPULSE_GATEWAY__FEED="telepathy")

    assert done.returncode == BAD_CONFIG
    assert_one_message(done.stderr, "environment TICKPULSE_GATEWAY__FEED", "telepathy")


def test_port_in_use_is_named(folder: Path) -> None:
    """Another program has the port: the message says which, and where to change it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        config = ("--set", f"channels.executions={endpoint}")
        done = run_tickpulse("exchange", *config, "--config", "no_instruments.toml", cwd=folder)

    assert done.returncode == BAD_CONFIG
    assert_one_message(done.stderr, endpoint, "Address already in use", "[channels]")


def test_run_directory_too_long_for_a_socket_is_refused(folder: Path) -> None:
    """A Unix socket's path has 107 bytes; libzmq's own message would name neither the limit nor the path."""
    done = run_tickpulse("exchange", "--run-dir", str(folder / ("long" * 30)), cwd=folder)

    assert done.returncode == BAD_CONFIG
    assert_one_message(done.stderr, "107 bytes", "choose a shorter --run-dir")


def test_second_process_of_a_name_is_told_who_holds_the_run(pipeline: Pipeline) -> None:
    """Two gateways in one run directory: the second one ends at once, the first one does not notice."""
    before = pipeline.counter("gateway", "ticks_published")

    done = pipeline.run("gateway")

    assert done.returncode == BAD_CONFIG
    assert_one_message(done.stderr, f"gateway is held by pid {pipeline.pid('gateway')} since ")
    pipeline.wait_counter("gateway", "ticks_published", before + 50)


@pytest.mark.parametrize(("command", "name"), [("ledger", "ledger.sqlite"), ("orders", "journal.sqlite")])
@pytest.mark.parametrize("is_sqlite", [False, True])
def test_file_that_is_none_of_ours_is_not_read(folder: Path, command: str, name: str, *, is_sqlite: bool) -> None:
    """Garbage, or another program's database, in the place of our file."""
    state = folder / "run" / "state"
    state.mkdir(parents=True)
    if is_sqlite:
        with sqlite3.connect(state / name) as connection:
            connection.execute("CREATE TABLE other (x)")
        connection.close()
    else:
        (state / name).write_bytes(b"garbage" * 1_000)

    done = run_tickpulse(command, cwd=folder)

    assert done.returncode in {FAULT, BAD_CONFIG}
    assert_one_message(done.stderr, name)


def test_process_on_a_foreign_database_does_not_start(folder: Path) -> None:
    """An executor never writes into a file that is not its journal."""
    state = folder / "run" / "state"
    state.mkdir(parents=True)
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()

    done = run_tickpulse("executor", cwd=folder)

    assert done.returncode == BAD_CONFIG
    assert_one_message(done.stderr, "journal.sqlite", "another SQLite file")


def test_reader_that_has_seen_enough_is_no_error(pipeline: Pipeline) -> None:
    """`tickpulse status | true`: a closed pipe ends the command without a word."""
    command = f"{sys.executable} -m common status --json --run-dir {pipeline.directory} | true; echo ${{PIPESTATUS[0]}}"

    done = run_shell(command)

    assert done == ("0\n", "")


def run_shell(command: str) -> tuple[str, str]:
    """Run a line of bash: its stdout and stderr."""
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout, done.stderr
