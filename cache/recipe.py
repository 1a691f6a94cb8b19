"""Recipe: the frozen, closed base of every configuration, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

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

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same with other values at dotted names such as "loop.steps", checked as a whole.

        A value may be a recipe, or its fields. Raises CacheError for a name that there is not and a value that does not
        fit.
        """
        document = self.model_dump()
        for name, value in changes.items():
            *way, field = name.split(".")
            inner = document
            for step in way:
                inner = inner.get(step) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or field not in inner:
                raise CacheError(f"{type(self).__name__}: found a change of {name!r}, which it does not have")
            inner[field] = value.model_dump() if isinstance(value, BaseModel) else value
        try:
            return type(self).model_validate(document)
        except ValidationError as error:
            raise CacheError("\n".join([f"{type(self).__name__}: cannot be changed so", *_issues(error)])) from error

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
            raise CacheError("\n".join([f"{path}: is no {cls.__name__}", *_issues(error)])) from error


def _issues(error: ValidationError) -> list[str]:
    """A line for each field that does not fit."""
    lines = []
    for issue in error.errors(include_url=False):
        field = ".".join(str(part) for part in issue["loc"]) or "(file)"
        lines.append(f"  {field}: found {_short(issue['input'])}, expected: {issue['msg']}")
    return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
