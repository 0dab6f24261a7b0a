"""Finds the functions that a user names for a replay."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import InvalidValueError


def load_function(text: str) -> Callable[..., Any]:
    """The function that `module:function` names; modules of the working directory are found.

    Raises:
        InvalidValueError: There is no such module or function, or the module cannot be imported.
    """
    module_name, colon, name = text.partition(":")
    if not (module_name and colon and name):
        raise InvalidValueError(f"{text!r}: expected module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InvalidValueError(
            f"{text!r}: expected a module that can be imported, {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise InvalidValueError(f"{text!r}: expected a function {name!r} in {module_name}, there is none")
    return function  # type: ignore[no-any-return]  # callable, which is all that a name promises
