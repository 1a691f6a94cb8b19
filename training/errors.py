"""The trainer's own complaint."""


class TrainingError(Exception):
    """Training can not start or go on; the message says what was found, what was expected and what mends it."""
