"""`tickpulse halt`, `reduce`, `resume`, `cancel-all`, `reload`, `trading`: what a person tells a running executor."""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from common.clock import NS_PER_S
from common.command import Command, load_config, run_options
from common.config import Config
from common.errors import ExitCode, InvalidValueError, NotReadyError
from common.events.risk import ControlAction, ControlAnswered, ScopeState, TradingState
from common.sockets.control import ask, make_request
from executor.trading_state import ALL, check_scope, is_person

F = TypeVar("F", bound=Callable[..., Any])
REASON_CHARACTERS_MAX = 500


def _check_scope(_context: click.Context, _option: click.Parameter, scope: str) -> str:
    try:
        return check_scope(scope)
    except InvalidValueError as error:
        raise click.BadParameter(str(error)) from error


def _check_by(_context: click.Context, _option: click.Parameter, by: str | None) -> str:
    name = os.environ.get("USER", "") if by is None else by
    if not is_person(name):
        raise click.BadParameter(
            f"expected a person's name of 1 to 32 characters without a colon, was {name!r}; name yourself with --by"
        )
    return name


def _check_reason(_context: click.Context, _option: click.Parameter, reason: str) -> str:
    if not reason.strip() or len(reason) > REASON_CHARACTERS_MAX:
        raise click.BadParameter(f"expected 1 to {REASON_CHARACTERS_MAX} characters for who reads it next")
    return reason


scope_option = click.option(
    "--scope",
    default=ALL,
    show_default=True,
    callback=_check_scope,
    help="all, strategy:NAME or symbol:EXCHANGE.SYMBOL.",
)
by_option = click.option("--by", metavar="NAME", callback=_check_by, help="Who says so.  [default: $USER]")
reason_option = click.option(
    "--reason", metavar="TEXT", required=True, callback=_check_reason, help="Why, for who reads it next."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
yes_option = click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask before something is loosened.")


def moving_options(function: F) -> F:
    """Add the options of a command that moves the kill switch."""
    for option in (json_option, reason_option, by_option, scope_option, run_options):
        function = option(function)
    return function


@click.command(cls=Command)
@moving_options
def halt(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], **options: Any) -> None:
    """Stop trading: no new order, open orders are cancelled. It stays so, also after restarts, until `resume`.

    \b
    tickpulse halt --reason "prices look odd"
    tickpulse halt --scope strategy:momentum --reason "losing"
    tickpulse halt --scope symbol:simulated.BTC/USDT --reason "delisting"

    Exit 0 when it is done, 3 when it was refused or nobody answered.
    """
    _command(load_config(config_path, run_dir, assignments), ControlAction.HALT, **options)


@click.command(cls=Command)
@yes_option
@moving_options
def reduce(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    is_confirmed: bool,
    **options: Any,
) -> None:
    """Let only orders through that make a position smaller. What is halted is loosened by it.

    Exit 0 when it is done, 3 when it was refused or nobody answered.
    """
    config = load_config(config_path, run_dir, assignments)
    _confirm(config, TradingState.REDUCING, options["scope"], options["by"], is_confirmed=is_confirmed)
    _command(config, ControlAction.REDUCE, **options)


@click.command(cls=Command)
@yes_option
@moving_options
def resume(
    config_path: Path | None,
    run_dir: str | None,
    assignments: tuple[str, ...],
    *,
    is_confirmed: bool,
    **options: Any,
) -> None:
    """Let a scope trade again. A strategy or symbol that was halted by itself is lifted by itself, not with `all`.

    On a terminal it asks first. Exit 0 when it is done, 3 when it was refused or nobody answered.
    """
    config = load_config(config_path, run_dir, assignments)
    _confirm(config, TradingState.ACTIVE, options["scope"], options["by"], is_confirmed=is_confirmed)
    _command(config, ControlAction.RESUME, **options)


@click.command("cancel-all", cls=Command)
@json_option
@click.option("--reason", metavar="TEXT", default="", help="Why, for who reads it next.")
@by_option
@scope_option
@run_options
def cancel_all(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], **options: Any) -> None:
    """Cancel every open order of a scope. Trading goes on: to stop it, `halt`, which cancels too.

    Exit 0 when the cancels are on their way, 3 when it was refused or nobody answered.
    """
    _command(load_config(config_path, run_dir, assignments), ControlAction.CANCEL_ALL, **options)


@click.command(cls=Command)
@json_option
@by_option
@run_options
def reload(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], **options: Any) -> None:
    """Let the executor read its risk limits anew from its config file, without a restart.

    Exit 0 when the new limits hold, 3 with the reason when the old ones do still.
    """
    config = load_config(config_path, run_dir, assignments)
    _command(config, ControlAction.RELOAD, scope=ALL, reason="", **options)


@click.command(cls=Command)
@json_option
@run_options
def trading(config_path: Path | None, run_dir: str | None, assignments: tuple[str, ...], *, as_json: bool) -> None:
    """Show who may trade: the kill switch of each scope, the circuit to the exchange, open orders, risk limits.

    Exit 0 when all may trade, 3 when something is halted or reducing, or nobody answered.
    """
    config = load_config(config_path, run_dir, assignments)
    answer = _ask_status(config)
    _show(answer, as_json=as_json)
    is_active = all(scope.state is TradingState.ACTIVE for scope in answer.scopes)
    sys.exit(ExitCode.OK if is_active else ExitCode.CHECKS_FAILED)


def _command(config: Config, action: ControlAction, *, scope: str, by: str, reason: str, as_json: bool) -> None:
    answer = ask(config, make_request(action, scope, by, reason))
    if as_json or answer.is_done:
        _show(answer, as_json=as_json)
    if not answer.is_done:
        raise NotReadyError(f"{action} was refused: {answer.reason}: {answer.detail}")


def _ask_status(config: Config) -> ControlAnswered:
    return ask(config, make_request(ControlAction.STATUS, ALL, os.environ.get("USER", "")[:32], ""))


def _confirm(config: Config, wanted: TradingState, scope: str, by: str, *, is_confirmed: bool) -> None:
    """On a terminal, show what would be loosened, and let a person think again."""
    if is_confirmed or not _is_at_terminal():
        return
    states = {state.scope: state for state in _ask_status(config).scopes}
    known = states.get(scope)
    if known is None or (wanted is TradingState.REDUCING and known.state is not TradingState.HALTED):
        return
    click.echo(f"{scope} is {known.state}, by {known.by or '-'} since {_utc(known)}: {known.reason or '-'}", err=True)
    click.confirm(f"As {by}, make it {wanted}?", abort=True, err=True)


def _is_at_terminal() -> bool:
    return sys.stdin.isatty()


def _show(answer: ControlAnswered, *, as_json: bool) -> None:
    click.echo(json.dumps(_view(answer), indent=2) if as_json else _text(answer))


def _view(answer: ControlAnswered) -> dict[str, Any]:
    return {
        "is_done": answer.is_done,
        "reason": answer.reason,
        "detail": answer.detail,
        "scopes": [msgspec.structs.asdict(scope) for scope in answer.scopes],
        "circuit": answer.circuit,
        "orders_working": answer.orders_working,
        "orders_cancelling": answer.orders_cancelling,
        "limits": answer.limits,
    }


SCOPE_ROW = "{:<40} {:<9} {:<24} {:<20} {}"


def _text(answer: ControlAnswered) -> str:
    rows = [
        SCOPE_ROW.format(scope.scope, scope.state, scope.by or "-", _utc(scope), scope.reason or "-")
        for scope in answer.scopes
    ]
    lines = [
        SCOPE_ROW.format("SCOPE", "STATE", "BY", "SINCE (UTC)", "REASON"),
        *rows,
        "",
        (
            f"circuit to the exchange {answer.circuit}; {answer.orders_working} orders working, "
            f"{answer.orders_cancelling} of them being cancelled"
        ),
        *(f"limit {name} = {value}" for name, value in sorted(answer.limits.items())),
        *([answer.detail] if answer.detail else []),
    ]
    return "\n".join(lines)


def _utc(scope: ScopeState) -> str:
    if not scope.since_ns:
        return "-"
    return datetime.fromtimestamp(scope.since_ns / NS_PER_S, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
