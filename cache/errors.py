"""Errors that end a command as one message, without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can fix: the message says what was found, what was expected, and what to do."""


class CacheError(UserError):
    """Something on disk is missing, damaged or made by another recipe."""
