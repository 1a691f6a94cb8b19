"""The type checker that pytest puts on every function of the rooms (through jaxtyping's import hook)."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception

F = TypeVar("F", bound=Callable)
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it


def checked(function: F) -> F:
    """`function` with its arguments and result checked against its signature.

    Except where that says `Self`: beartype knows it only in classes that it decorates as a whole, and the hook
    decorates method by method.
    """
    try:
        return _check(function)
    except BeartypeDecorHintPep673Exception:
        return function
