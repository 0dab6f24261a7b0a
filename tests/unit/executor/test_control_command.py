"""`tickpulse halt` and its sisters, against an executor that is played by a thread."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from support.fake_executor import FakeExecutor, make_answer, make_scope

from common.config import Config
from common.errors import ExitCode, NotReadyError
from common.events.base import DRAFT, Message
from common.events.risk import CircuitState, ControlAction, ControlRequested
from common.events.venue import RequestRefused
from common.sockets.control import ask, make_request
from executor import control_command
from executor.control_command import cancel_all, halt, reduce, reload, resume, trading

MOVING = {"halt": halt, "reduce": reduce, "resume": resume}
each_moving = pytest.mark.parametrize("name", MOVING)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """A run directory away from any tickpulse.toml, with a path that is short enough for a socket."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USER", "alice")
    with tempfile.TemporaryDirectory(prefix="tp-", dir="/tmp") as directory:
        config = Config({"run": {"directory": directory}}, "test")
        config.run_directory().create()
        yield config


def invoke(config: Config, command: click.Command, *options: str) -> Result:
    """Run a command on the run directory."""
    return CliRunner().invoke(command, ["--run-dir", str(config.run_directory().path), *options])


@each_moving
def test_command_tells_the_executor_what_who_and_why(config: Config, name: str) -> None:
    """Every part of it arrives, and the answer is shown."""
    with FakeExecutor(config) as executor:
        result = invoke(config, MOVING[name], "--scope", "strategy:momentum", "--by", "bob", "--reason", "odd prices")

    assert result.exit_code == ExitCode.OK, result.output
    [request] = executor.requests
    assert (request.action, request.scope, request.by, request.reason) == (
        name,
        "strategy:momentum",
        "bob",
        "odd prices",
    )
    assert "circuit to the exchange closed; 3 orders working, 0 of them being cancelled" in result.output


def test_who_is_at_the_keyboard_and_everything_are_the_defaults(config: Config) -> None:
    """A halt must be quick to type."""
    with FakeExecutor(config) as executor:
        invoke(config, halt, "--reason", "odd prices")
        invoke(config, cancel_all)
        invoke(config, reload)

    assert [(request.action, request.scope, request.by) for request in executor.requests] == [
        (ControlAction.HALT, "all", "alice"),
        (ControlAction.CANCEL_ALL, "all", "alice"),
        (ControlAction.RELOAD, "all", "alice"),
    ]


@pytest.mark.parametrize("user", ["", "limit:DAILY_LOSS", "reconciliation"])
@each_moving
def test_command_of_nobody_is_refused(config: Config, monkeypatch: pytest.MonkeyPatch, name: str, user: str) -> None:
    """Before anything is sent: who stops trading has a name."""
    monkeypatch.setenv("USER", user)

    result = invoke(config, MOVING[name], "--reason", "odd prices")

    assert result.exit_code == ExitCode.USAGE
    assert "name yourself with --by" in result.output


@pytest.mark.parametrize("options", [(), ("--reason", " "), ("--reason", "x" * 501)])
@each_moving
def test_command_without_a_reason_is_refused(config: Config, name: str, options: tuple[str, ...]) -> None:
    """Somebody will have to decide whether it may be lifted."""
    assert invoke(config, MOVING[name], *options).exit_code == ExitCode.USAGE


@pytest.mark.parametrize("command", [*MOVING.values(), cancel_all])
def test_scope_that_is_none_is_refused(config: Config, command: click.Command) -> None:
    """With what it should look like."""
    result = invoke(config, command, "--reason", "odd prices", "--scope", "momentum")

    assert result.exit_code == ExitCode.USAGE
    assert "strategy:NAME" in result.output


def test_nobody_answering_is_one_clear_message_and_exit_code_3(config: Config) -> None:
    """It names the run directory, and says that the outcome is open."""
    request = make_request(ControlAction.HALT, "all", "alice", "odd prices")

    with pytest.raises(NotReadyError) as caught:
        ask(config, request, answer_ms_max=20)

    assert caught.value.exit_code == ExitCode.CHECKS_FAILED
    assert f"is the executor running in {config.run_directory().path}?" in str(caught.value)
    assert "Whether it was done is not known" in str(caught.value)


def test_command_that_nobody_took_does_not_arrive_later(config: Config) -> None:
    """Its author was told that it is lost, and may have done something else since."""
    with pytest.raises(NotReadyError):
        ask(config, make_request(ControlAction.RESUME, "all", "alice", "fixed"), answer_ms_max=20)

    with FakeExecutor(config) as executor:
        invoke(config, trading)

    assert [request.action for request in executor.requests] == [ControlAction.STATUS]


@pytest.mark.parametrize("as_json", [False, True])
def test_refused_command_ends_with_3_and_the_reason(config: Config, *, as_json: bool) -> None:
    """One line; with --json the whole answer too."""

    def refuse(request: ControlRequested) -> Message:
        return make_answer(request, is_done=False, reason="UNKNOWN_SYMBOL", detail="simulated.X is not in the table")

    with FakeExecutor(config, refuse):
        result = invoke(config, halt, "--reason", "odd prices", *(["--json"] if as_json else []))

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert "Error: halt was refused: UNKNOWN_SYMBOL: simulated.X is not in the table" in result.output
    assert ('"reason": "UNKNOWN_SYMBOL"' in result.output) is as_json


@pytest.mark.parametrize(
    "respond",
    [
        lambda request: make_answer(request, request_id="another"),
        lambda _: RequestRefused(**DRAFT, timestamp_ns=0, request_id=None, reason="frame_unknown_type", detail="?"),
    ],
)
def test_answer_to_something_else_is_none(config: Config, respond: Callable[[ControlRequested], Message]) -> None:
    """An executor of another version is no confirmation."""
    with FakeExecutor(config, respond):
        result = invoke(config, halt, "--reason", "odd prices")

    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert "halt: expected an answer to control-" in result.output


def halted(request: ControlRequested) -> Message:
    """The answer of an executor whose strategy momentum is halted."""
    scopes = [make_scope(), make_scope("strategy:momentum", "halted")]
    limits = {"order_notional_max": "50000", "orders_open_max": "20"}
    return make_answer(request, scopes=scopes, circuit=CircuitState.OPEN, orders_cancelling=2, limits=limits)


def test_trading_shows_scopes_circuit_orders_and_limits(config: Config) -> None:
    """One look; exit 3 says to a script that not all may trade."""
    with FakeExecutor(config, halted):
        result = invoke(config, trading)

    titles, everything, momentum, blank, orders, *limits = result.output.splitlines()
    assert result.exit_code == ExitCode.CHECKS_FAILED
    assert titles.split() == ["SCOPE", "STATE", "BY", "SINCE", "(UTC)", "REASON"]
    assert everything.split() == ["all", "active", "-", "-", "-"]
    assert momentum.split()[:3] == ["strategy:momentum", "halted", "bob"]
    assert momentum.endswith("2023-11-14 22:13:20  prices look odd")
    assert momentum.index("halted") == titles.index("STATE")
    assert blank == ""
    assert orders == "circuit to the exchange open; 3 orders working, 2 of them being cancelled"
    assert limits == ["limit order_notional_max = 50000", "limit orders_open_max = 20"]


def test_trading_as_json_is_one_object(config: Config) -> None:
    """For scripts; exit 0 while all may trade."""
    with FakeExecutor(config):
        result = invoke(config, trading, "--json")

    assert result.exit_code == ExitCode.OK
    assert msgspec.json.decode(result.output) == {
        "is_done": True,
        "reason": None,
        "detail": "",
        "scopes": [{"scope": "all", "state": "active", "by": "", "reason": "", "since_ns": 0}],
        "circuit": "closed",
        "orders_working": 3,
        "orders_cancelling": 0,
        "limits": {},
    }


class Person:
    """Answers a question at a terminal, and remembers it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, says: bool) -> None:
        self.questions: list[str] = []
        self._says = says
        monkeypatch.setattr(control_command, "_is_at_terminal", lambda: True)
        monkeypatch.setattr(control_command.click, "confirm", self._answer)

    def _answer(self, question: str, **_: object) -> None:
        self.questions.append(question)
        if not self._says:
            raise click.Abort


@pytest.mark.parametrize("name", ["reduce", "resume"])
def test_loosening_at_a_terminal_shows_who_halted_and_asks(
    config: Config, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Who says no has changed nothing."""
    person = Person(monkeypatch, says=False)
    with FakeExecutor(config, halted) as executor:
        result = invoke(config, MOVING[name], "--scope", "strategy:momentum", "--reason", "fixed")

    assert result.exit_code == ExitCode.FAULT
    assert "strategy:momentum is halted, by bob since 2023-11-14 22:13:20: prices look odd" in result.output
    assert person.questions == [f"As alice, make it {'reducing' if name == 'reduce' else 'active'}?"]
    assert [request.action for request in executor.requests] == [ControlAction.STATUS]


def test_person_who_says_yes_is_obeyed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command follows the question."""
    Person(monkeypatch, says=True)
    with FakeExecutor(config, halted) as executor:
        result = invoke(config, resume, "--scope", "strategy:momentum", "--reason", "fixed")

    assert result.exit_code == ExitCode.OK
    assert [request.action for request in executor.requests] == [ControlAction.STATUS, ControlAction.RESUME]


@pytest.mark.parametrize(
    ("name", "options"), [("resume", ("--yes",)), ("reduce", ("--yes",)), ("reduce", ()), ("halt", ())]
)
def test_no_question_where_it_was_answered_or_nothing_is_loosened(
    config: Config, monkeypatch: pytest.MonkeyPatch, name: str, options: tuple[str, ...]
) -> None:
    """A reduce of what is active tightens; a halt always does."""
    person = Person(monkeypatch, says=False)
    with FakeExecutor(config) as executor:
        result = invoke(config, MOVING[name], "--reason", "odd prices", *options)

    assert result.exit_code == ExitCode.OK, result.output
    assert person.questions == []
    assert executor.requests[-1].action == name
