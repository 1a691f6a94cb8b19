"""Recipe: the frozen, closed base of every configuration, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from cache.atomic import atomic_path
from cache.schema import CacheError


class Recipe(BaseModel):
    """A frozen set of choices. Unknown fields, infinities and NaN are refused; docstrings of fields are their help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def fingerprint(self) -> str:
        """First 12 hex digits of the sha256 of this recipe as canonical JSON (sorted keys, no spaces)."""
        canonical = json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def save(self, path: Path) -> None:
        """Write this recipe as indented JSON, atomically."""
        with atomic_path(path) as unfinished:
            unfinished.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe back. Raises CacheError naming the file and, for each field, what was found and expected."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CacheError(f"{path}: cannot be read: {error}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            lines = [f"{path}: is no {cls.__name__}"]
            for issue in error.errors(include_url=False):
                field = ".".join(str(part) for part in issue["loc"]) or "(file)"
                lines.append(f"  {field}: found {_short(issue['input'])}, expected: {issue['msg']}")
            raise CacheError("\n".join(lines)) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
