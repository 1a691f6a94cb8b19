"""TrainingError: what training, inference and evaluation raise when the user has to change something."""

from cache.errors import UserError


class TrainingError(UserError):
    """Training cannot start or go on; the message says what was found, what was expected and how to fix it."""
