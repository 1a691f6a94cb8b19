"""The type checker that pytest puts on every function of the rooms (through jaxtyping's import hook)."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep673Exception, BeartypeDecorHintPep3119Exception

F = TypeVar("F", bound=Callable)
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as type checkers have it


def checked(function: F) -> F:
    """`function` with its arguments and result checked against its signature.

    Except where that says `Self`, which beartype knows only in classes that it decorates as a whole (the hook decorates
    method by method), or a Protocol, which cannot be checked at run time.
    """
    try:
        return _check(function)
    except (BeartypeDecorHintPep673Exception, BeartypeDecorHintPep3119Exception):
        return function
