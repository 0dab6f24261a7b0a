import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.config import Config, RunConfig, load, parse_value
from common.errors import ConfigError, ExitCode
from gateway.config import GatewayConfig
from strategy.config import StrategyConfigs

INSTRUMENT = """
[[instruments]]
exchange = "simulated"
symbol = "BTC/USDT"
raw_symbol = "BTCUSDT"
tick_size = "0.01"
lot_size = "0.001"
"""


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tickpulse.toml unless the test writes one."""
    monkeypatch.chdir(tmp_path)


def make_config(text: str = "", *assignments: str, **environ: str) -> Config:
    """Read a config file of this text together with an environment and with options."""
    Path("given.toml").write_text(text, encoding="utf-8")
    return load(Path("given.toml"), environ, assignments)


def gateway_of(config: Config) -> GatewayConfig:
    """The typed table of the gateway."""
    return config.section("gateway", GatewayConfig)


def refusal_of(text: str = "", *assignments: str, **environ: str) -> str:
    """The error that such a config ends in, when every table is read."""
    with pytest.raises(ConfigError) as refusal:
        read_all(make_config(text, *assignments, **environ))
    assert refusal.value.exit_code is ExitCode.BAD_CONFIG
    return str(refusal.value)


def read_all(config: Config) -> None:
    """Read every table that the tests use."""
    config.settings()
    gateway_of(config)
    config.section("strategy", StrategyConfigs)


def test_config_without_a_file_is_all_defaults() -> None:
    """A first run needs no file."""
    config = load(None, {})

    assert config.settings().run == RunConfig()
    assert gateway_of(config) == GatewayConfig()
    assert len(config.instruments()) == 0


def test_file_in_the_working_directory_is_found() -> None:
    """tickpulse.toml is read without being named."""
    Path("tickpulse.toml").write_text("[gateway.synthetic]\nrate = 7\n")

    assert gateway_of(load(None, {})).synthetic.rate == 7.0


def test_environment_overrides_the_file_and_an_option_overrides_both() -> None:
    """The nearer to the person at the keyboard, the stronger."""
    text = "[gateway.synthetic]\nrate = 1.0\nseed = 1\n[gateway]\nbatch_ticks_max = 1\n"
    environ = {"TICKPULSE_GATEWAY__SYNTHETIC__SEED": "2", "TICKPULSE_GATEWAY__BATCH_TICKS_MAX": "2"}

    section = gateway_of(make_config(text, "gateway.batch_ticks_max=3", **environ))

    assert (section.synthetic.rate, section.synthetic.seed, section.batch_ticks_max) == (1.0, 2, 3)


def test_last_of_two_equal_options_holds() -> None:
    """As everywhere on a command line."""
    section = gateway_of(make_config("", "gateway.synthetic.seed=2", "gateway.synthetic.seed=3"))

    assert section.synthetic.seed == 3


def test_run_directory_of_the_environment_yields_to_an_option() -> None:
    """TICKPULSE_RUN_DIR is short for the key run.directory."""
    environ = {"TICKPULSE_RUN_DIR": "from_environment"}

    assert make_config("[run]\ndirectory = 'a'", **environ).run_directory().path.name == "from_environment"
    assert make_config("", "run.directory=from_option", **environ).run_directory().path.name == "from_option"


def test_environment_of_others_is_left_alone() -> None:
    """Neither foreign variables nor those that are options of commands are config keys."""
    config = make_config("", PATH="/bin", GATEWAY__FEED="x", TICKPULSE_CONFIG="y", TICKPULSE_RUN_DIR="")

    assert config.tree == {}


def test_json_file_means_the_same_as_toml() -> None:
    """Programs write JSON, people write TOML."""
    Path("given.json").write_text(json.dumps({"gateway": {"synthetic": {"rate": 7}}}))

    assert gateway_of(load(Path("given.json"), {})).synthetic.rate == 7.0


@pytest.mark.parametrize("text", ["[1, 2]", "3", '"run"', "null"])
def test_json_file_that_is_no_object_is_refused(text: str) -> None:
    """A program's mistake ends in one message, not in a traceback."""
    Path("given.json").write_text(text)

    with pytest.raises(ConfigError, match=r"config file given\.json: expected an object of tables, was"):
        load(Path("given.json"), {})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.toml", None, "expected a readable TOML file, No such file or directory"),
        ("broken.toml", b"[run\n", "expected TOML"),
        ("latin.toml", b"# caf\xe9\n", "expected TOML"),
        ("broken.json", b"{", "expected TOML"),
    ],
)
def test_file_that_cannot_be_read_is_named(name: str, content: bytes | None, reason: str) -> None:
    """A file that was asked for and is not there is an error, not a default."""
    if content is not None:
        Path(name).write_bytes(content)

    with pytest.raises(ConfigError, match=f"config file {name}: {reason}"):
        load(Path(name), {})


def test_directory_is_no_config_file(tmp_path: Path) -> None:
    """The operating system's own word is passed on."""
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, {})


# Each: what is given, and where and how the message must place it.
REFUSALS: list[tuple[str, list[str], dict[str, str], str]] = [
    # A key that nobody knows, wherever it stands: origin, key, nearest.
    ("[gateway]\nfede = 'x'", [], {}, "given.toml: gateway.fede: unknown key; did you mean feed?"),
    (
        "",
        ["gateway.synthetic.rat=5"],
        {},
        "--set gateway.synthetic.rat: gateway.synthetic.rat: unknown key; did you mean rate?",
    ),
    (
        "",
        [],
        {"TICKPULSE_RUN__LOGLEVEL": "info"},
        "environment TICKPULSE_RUN__LOGLEVEL: run.loglevel: unknown key; did you mean log_level?",
    ),
    (
        "",
        ["strategy.momentum.instrumentss=1"],
        {},
        "--set strategy.momentum.instrumentss: strategy.momentum.instrumentss: unknown key; did you mean instruments?",
    ),
    # A table that nobody knows.
    ("[gatewai]\nfeed = 'x'", [], {}, "given.toml: unknown table [gatewai]; did you mean gateway?"),
    ("", [], {"TICKPULSE_GATEWAI__FEED": "x"}, "environment TICKPULSE_GATEWAI__FEED: unknown table [gatewai]"),
    # A value of the wrong type: origin, key, expected, was.
    (
        "[gateway.synthetic]\nrate = 'fast'",
        [],
        {},
        "given.toml: gateway.synthetic.rate: expected float, was 'fast'",
    ),
    ("[run]\ndirectory = 2024", [], {}, "given.toml: run.directory: expected str, was 2024"),
    ("gateway = 3", [], {}, "given.toml: gateway: expected object, was 3"),
    ("", ["strategy.momentum=5"], {}, "--set strategy.momentum: strategy.momentum: expected object, was 5"),
    # A value outside its range.
    (
        "",
        ["gateway.heartbeat_interval_ms=0"],
        {},
        "--set gateway.heartbeat_interval_ms: gateway.heartbeat_interval_ms: expected int >= 1, was 0",
    ),
    ("[gateway.synthetic]\nrate = nan", [], {}, "given.toml: gateway.synthetic.rate: expected float >= 0.0, was nan"),
    (
        "",
        [],
        {"TICKPULSE_STRATEGY__FAST__TIMER_MS": "-1"},
        "environment TICKPULSE_STRATEGY__FAST__TIMER_MS: strategy.fast.timer_ms: expected int >= 1, was -1",
    ),
    # A value that is none of a few.
    (
        "[gateway]\nfeed = 'nope'",
        [],
        {},
        "given.toml: gateway.feed: expected one of 'synthetic', 'recorded', 'store', was 'nope'",
    ),
    ("[run]\nmode = 'live'", [], {}, "given.toml: run.mode: expected one of 'simulated', was 'live'"),
    # An entry of a list, by its place.
    (
        INSTRUMENT.replace('"0.001"', '"NaN"'),
        [],
        {},
        "given.toml: instruments.[0]: simulated.BTC/USDT: lot_size: expected a finite amount above 0, was NaN",
    ),
    (
        INSTRUMENT + INSTRUMENT.replace("raw_symbol", "raw_symbl"),
        [],
        {},
        "given.toml: instruments.[1].raw_symbl: unknown key; did you mean raw_symbol?",
    ),
    (
        INSTRUMENT.replace('raw_symbol = "BTCUSDT"\n', ""),
        [],
        {},
        "given.toml: instruments.[0]: object missing required field raw_symbol",
    ),
]


@pytest.mark.parametrize(("text", "assignments", "environ", "message"), REFUSALS)
def test_refusal_says_where_which_key_what_was_expected_and_what_was_there(
    text: str, assignments: list[str], environ: dict[str, str], message: str
) -> None:
    """A person must find the wrong line without reading our code."""
    assert refusal_of(text, *assignments, **environ).startswith(message)


def test_unknown_key_without_a_near_one_is_answered_with_all() -> None:
    """Nothing is suggested that is not alike."""
    message = refusal_of("[run]\nzzzzzz = 1")

    assert message.startswith("given.toml: run.zzzzzz: unknown key; known: directory, mode")


@pytest.mark.parametrize("assignment", ["gateway.feed", "=3", "gateway..feed=x", ".=1"])
def test_option_that_is_no_assignment_is_refused(assignment: str) -> None:
    """--set takes table.key=value."""
    with pytest.raises(ConfigError, match=r"--set: expected table\.key=value, was"):
        make_config("", assignment)


def test_key_below_a_value_is_refused() -> None:
    """A value has no keys of its own."""
    with pytest.raises(ConfigError, match=r"--set run\.directory\.x: run\.directory\.x: directory is a value"):
        make_config("[run]\ndirectory = 'a'", "run.directory.x=1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50000", 50_000),
        ("0.5", 0.5),
        ("true", True),
        ('"50000"', "50000"),
        ('["*.*"]', ["*.*"]),
        ("synthetic", "synthetic"),
        ("/data/a b.gz", "/data/a b.gz"),
        ("", ""),
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555"),
    ],
)
def test_text_is_read_as_toml_or_else_taken_as_it_is(text: str, value: object) -> None:
    """Numbers and lists need no quotes in a shell, and paths neither."""
    assert parse_value(text) == value


def test_channel_without_an_endpoint_is_a_socket_in_the_run_directory() -> None:
    """Faster than tcp and closed to other users."""
    config = make_config("[run]\ndirectory = '/run/here'\n[channels]\nmarket = 'tcp://127.0.0.1:5555'")

    assert config.endpoint("orders") == "ipc:///run/here/sockets/orders.ipc"
    assert config.endpoint("market") == "tcp://127.0.0.1:5555"


def test_socket_path_that_the_system_would_cut_off_is_refused() -> None:
    """Linux takes 107 bytes; the message says how many there were and what to do."""
    fits, too_long = "/run/" + "x" * 83, "/run/" + "x" * 84

    assert len(make_config(f"[run]\ndirectory = '{fits}'").endpoint("orders")) == len("ipc://") + 107
    with pytest.raises(ConfigError, match=r"socket path of up to 107 bytes, was 108 .*; choose a shorter --run-dir"):
        make_config(f"[run]\ndirectory = '{too_long}'").endpoint("orders")


def test_socket_path_is_measured_in_bytes() -> None:
    """A letter with an accent takes two."""
    with pytest.raises(ConfigError, match="was 108"):
        make_config(f"[run]\ndirectory = '/run/{'é' * 42}'").endpoint("orders")


def test_instruments_of_the_file_are_a_table() -> None:
    """Amounts may be text, which is exact, or numbers, which are read by their shortest spelling."""
    config = make_config(INSTRUMENT.replace('"0.01"', "0.01"))

    instrument = config.instruments().named("simulated.BTC/USDT")

    assert (str(instrument.tick_size), str(instrument.lot_size)) == ("0.01", "0.001")


def test_options_of_a_command_are_placed_like_any_other() -> None:
    """--rate of the gateway is an assignment, and its error says so."""
    config = make_config()
    config.assign(("gateway", "synthetic", "rate"), -1.0, "--rate")

    with pytest.raises(ConfigError, match=r"^--rate: gateway\.synthetic\.rate: expected float >= 0\.0, was -1\.0$"):
        gateway_of(config)


class Nested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table with tables of any name."""

    inner: dict[str, dict[str, RunConfig]] = {}
    tail: tuple[RunConfig, ...] = ()


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ({"inner": {"a": {"b": {"directory": 1}}}}, "guest.inner"),
        ({"tail": [{"directory": 1}]}, r"guest\.tail\.\[0\]\.directory: expected str, was 1"),
        ({"tail": 1}, "guest.tail: expected array, was 1"),
    ],
)
def test_table_of_another_distribution_is_placed_as_well_as_its_shape_allows(tree: dict[str, Any], place: str) -> None:
    """Commands of others bring tables of any shape; the message never fails, and never names a wrong key."""
    with pytest.raises(ConfigError, match=f"^their file: {place}"):
        Config({"guest": tree}, "their file").section("guest", Nested)
