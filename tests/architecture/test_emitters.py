"""Who sends what, as the types say it, against the code of the processes."""

import ast
import functools
from pathlib import Path

import pytest

from common.events.base import Message
from common.events.registry import MESSAGE_TYPES, type_name

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parents[2]
PROCESSES = ("gateway", "exchange", "strategy", "executor", "monitor", "watchdog", "workers", "recorder")
TYPE_NAMES = {message_type.__name__ for message_type in MESSAGE_TYPES}
# What a process makes and does not send.
KEPT = {
    ("executor", "Signal"),  # of an order that is adopted: nobody ever decided it
    ("strategy", "Tick"),  # unpacked, for a callback that takes them one by one
}


@functools.cache
def trees_of(package: str) -> tuple[ast.Module, ...]:
    """Every file of a package."""
    return tuple(ast.parse(path.read_bytes()) for path in sorted((ROOT / package).rglob("*.py")))


@functools.cache
def names_in(package: str) -> frozenset[str]:
    """Message types that a package uses in an expression, as what it makes must be."""
    return frozenset(
        node.id
        for tree in trees_of(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in TYPE_NAMES
    )


@functools.cache
def made_in(package: str) -> frozenset[str]:
    """Message types that a package builds by name."""
    return frozenset(
        node.func.id
        for tree in trees_of(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TYPE_NAMES
    )


@pytest.mark.parametrize("message_type", MESSAGE_TYPES, ids=type_name)
def test_emitter_has_the_code_to_send_it(message_type: type[Message]) -> None:
    """A process that a type names really makes it; what all share is made in `common`."""
    assert set(message_type.emitters) <= {*PROCESSES, "every"}
    places = {package: names_in(package) | made_in("common") for package in PROCESSES}
    places["every"] = frozenset(made_in("common"))

    assert [name for name in message_type.emitters if message_type.__name__ not in places[name]] == []


@pytest.mark.parametrize("process", PROCESSES)
def test_process_is_named_by_every_type_that_it_makes(process: str) -> None:
    """Who adds a message to a process adds the process to the type, and so to EVENTS.md."""
    emitted = {message_type.__name__ for message_type in MESSAGE_TYPES if process in message_type.emitters}

    assert {name for name in made_in(process) if (process, name) not in KEPT} <= emitted
