"""A doubt about a training: what was seen, and what to try."""

from cache.recipe import Recipe

FILE = "learned.json"
"""File in a run's folder with what its weights have not learned (`learned.Learned`)."""


class Doubt(Recipe):
    """Something that a user should know and may want to change; it stops nothing."""

    seen: str
    """What was seen, with figures."""
    advice: str
    """What to try: options with values."""

    def __str__(self) -> str:
        return f"{self.seen}; {self.advice}"
