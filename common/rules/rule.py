"""`@rule`: a function, a method of a strategy, or a class becomes a rule that a `RuleEngine` can be given.

@rule(on=Tick, mid=last(6, of=mid_price).changes())
def rising(tick: Tick, mid: Window) -> Finding | None:
    return found(tick, "five rises in a row") if mid.rising == 5 else None

@rule(on=sequence(OrderSubmitted).without(OrderAccepted, within_s=1), per="client_order_id")
def unanswered(matched: tuple[OrderSubmitted]) -> Finding:
    return found(matched[0], "no word of the order for a second")
"""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from common.clock import NS_PER_S
from common.errors import InvalidValueError
from common.events.base import Message
from common.rules.finding import Answer
from common.rules.sequence import Matching, Sequence
from common.rules.state import KeyState, Windowed
from common.rules.window import WindowSpec

Key = str | tuple[str, ...]
KeyOf = Callable[[Any], Key]
Function = Callable[..., Answer]
# Begins a key with the function or class that was decorated, and the counters of its rule.
Make = Callable[[Callable[..., Any], Counter[str]], KeyState]
LATENESS_S_DEFAULT = 1.0  # clocks of processes on one host, and what a correction of one may take back


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine needs to know of a rule. Made by `rule`; as an attribute of a class it is bound like a method."""

    name: str
    on: tuple[type[Message], ...]
    key_of: KeyOf
    lateness_ns: int
    cooldown_ns: int
    shape: str
    """What must be equal for a saved state to fit."""
    make: Make
    function: Callable[..., Any]

    def make_state(self, counts: Counter[str]) -> KeyState:
        """Begin a key; what happens inside that somebody should know is counted."""
        return self.make(self.function, counts)

    def __get__(self, instance: object, owner: type) -> "Rule":
        if instance is None or not inspect.isfunction(self.function):
            return self
        return msgspec.structs.replace(self, function=self.function.__get__(instance, owner))


def rules_of(instance: object) -> list[Rule]:
    """The rules among the attributes of an object's class, bound to it, in the order of their definition."""
    names = {name: None for each in reversed(type(instance).__mro__) for name in vars(each)}
    return [getattr(instance, name) for name in names if isinstance(getattr(type(instance), name, None), Rule)]


def rule(
    *,
    on: type[Message] | tuple[type[Message], ...] | Sequence,
    per: str | tuple[str, ...] | KeyOf = "symbol",
    name: str | None = None,
    lateness_s: float = LATENESS_S_DEFAULT,
    cooldown_s: float = 0.0,
    **windows: WindowSpec,
) -> Callable[[Function | type[KeyState]], Rule]:
    """Make a rule of what follows.

    A function is called with the event and, by name, its windows, for each event that gives one of them a value; with a
    sequence, with the tuple of the matched events. A class derives from `KeyState`. Either returns None, a `Finding`, a
    message, or several of those.

    Args:
        on: Message types, a base class standing for all of its kinds; or a sequence.
        per: What has a state of its own: `"symbol"` each symbol of each exchange, `"all"` everything together,
            otherwise fields of the message, or a function that gives a text or a tuple of texts.
        name: The function's or class's own unless stated.
        lateness_s: An event of a key may lie this far behind its newest. It is taken at the time of the newest. An
            older one is passed over and counted.
        cooldown_s: After it has said something the rule is silent for the key so long; what it would say is counted.
        **windows: The function's other parameters.

    Raises:
        InvalidValueError: An argument is none of this, or the function's parameters do not fit.
    """
    types = on.types() if isinstance(on, Sequence) else on if isinstance(on, tuple) else (on,)
    key_of = _make_key_of(per, types)
    times_ns = [_ns("lateness_s", lateness_s), _ns("cooldown_s", cooldown_s)]
    for parameter, spec in windows.items():
        if not isinstance(spec, WindowSpec):
            raise InvalidValueError(f"rule: {parameter}: expected last(...) or last_seconds(...), was {spec!r}")

    def decorate(decorated: Function | type[KeyState]) -> Rule:
        own_name = name or getattr(decorated, "__name__", "rule").strip("_")
        if isinstance(decorated, type):
            if windows or isinstance(on, Sequence):
                raise InvalidValueError(f"rule {own_name}: expected a function for windows and sequences, was a class")
            make: Make = _make_own
            shape = decorated.__name__
        else:
            ordered = _in_order(own_name, decorated, windows)
            shape = ",".join(f"{key}={spec.shape()}" for key, spec in ordered.items())
            make = _maker_of_windows(tuple(ordered.values()))
            if isinstance(on, Sequence):
                shape, make = on.shape(), _maker_of_matches(own_name, on, times_ns[0], has_windows=bool(windows))
        return Rule(
            name=own_name,
            on=types,
            key_of=key_of,
            lateness_ns=times_ns[0],
            cooldown_ns=times_ns[1],
            shape=shape,
            make=make,
            function=decorated,
        )

    return decorate


def _make_own(state_type: Callable[..., Any], _counts: Counter[str]) -> KeyState:
    state: KeyState = state_type()
    return state


def _maker_of_windows(specs: tuple[WindowSpec, ...]) -> Make:
    return lambda function, counts: Windowed(specs, function, counts)


def _maker_of_matches(name: str, pattern: Sequence, lateness_ns: int, *, has_windows: bool) -> Make:
    if has_windows or not pattern.steps:
        raise InvalidValueError(f"rule {name}: expected a sequence with one or more steps, and no windows beside it")
    return lambda function, counts: Matching(pattern, function, lateness_ns, counts)


def _in_order(name: str, function: Function, windows: dict[str, WindowSpec]) -> dict[str, WindowSpec]:
    """The windows in the order of the function's parameters."""
    parameters = [each for each in inspect.signature(function).parameters if each != "self"]
    if not parameters or set(parameters[1:]) != set(windows):
        raise InvalidValueError(
            f"rule {name}: expected parameters ({', '.join(['event', *windows])}), was ({', '.join(parameters)})"
        )
    return {parameter: windows[parameter] for parameter in parameters[1:]}


def _make_key_of(per: str | tuple[str, ...] | KeyOf, types: tuple[Any, ...]) -> KeyOf:
    if not types or not all(isinstance(each, type) and issubclass(each, Message) for each in types):
        raise InvalidValueError(f"rule: on: expected message types or a sequence, was {types}")
    if callable(per):
        return per
    if per == "all":
        return lambda _: ""
    fields = ("exchange", "symbol") if per == "symbol" else (per,) if isinstance(per, str) else per
    for each in types:
        if missing := [field for field in fields if field not in each.__struct_fields__]:
            raise InvalidValueError(f"rule: per: expected fields of {each.__name__}, it has no {', '.join(missing)}")
    if fields == ("exchange", "symbol"):  # written out: 0.1 µs less for each event
        return lambda event: (event.exchange, event.symbol)
    return lambda event: tuple(str(getattr(event, field)) for field in fields)


def _ns(name: str, seconds: float) -> int:
    if not 0 <= seconds <= 7 * 86_400:
        raise InvalidValueError(f"rule: {name}: expected 0 to 604800 seconds, was {seconds}")
    return round(seconds * NS_PER_S)
