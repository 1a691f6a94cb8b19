"""The trainer's own complaint."""

from cache.errors import UserError


class TrainingError(UserError):
    """Training can not start or go on; the message says what was found, what was expected and what mends it."""
