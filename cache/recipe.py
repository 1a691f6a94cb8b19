"""Recipe: the frozen base class of all configs, and its fingerprint (config hash)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from cache.errors import CacheError
from cache.files.atomic import atomic_path


@dataclass(frozen=True)
class RunOnly:
    """Marks, in `Annotated[...]`, a field that affects how a run is executed, but not its results."""


RUN_ONLY = RunOnly()
"""`workers: Annotated[PositiveInt, RUN_ONLY] = 2` is left out of fingerprints and of comparisons of recipes."""


class Recipe(BaseModel):
    """A frozen config. Unknown fields, infinities and NaN are refused; the docstrings of fields are the help of
    options.

    If a default of a class changes, or the meaning of a value, the class increases `schema_version: ClassVar[int]`. It
    is 1 if not given; any other value is part of the fingerprint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    removed_fields: ClassVar[Mapping[str, Any]] = {}
    """Fields that the class no longer has, each with the value, as JSON, that corresponds to its present behaviour.
    Files with this value can be read; those with another are refused."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Let `--help` wrap the docstrings of fields as it needs, not where their lines end in the source."""
        for field in cls.model_fields.values():
            if field.description is not None:
                field.description = " ".join(field.description.split())

    def canonical(self) -> dict[str, Any]:
        """The canonical form of the recipe, as JSON: the fields that differ from their defaults.

        Required fields, and those with a single possible value, which name a member of a union, are always included;
        RUN_ONLY fields never. A nested recipe is given by what differs from the defaults of its own class. A mapping
        becomes a list of pairs, since its order counts. `schema_version` is included if it is not 1.
        """
        return self._canonical(versions=True)

    def _canonical(self, *, versions: bool) -> dict[str, Any]:
        document: dict[str, Any] = {}
        if versions and (version := schema_version(type(self))) != 1:
            document["schema_version"] = version
        for name, field in _compared_fields(type(self)):
            value = _plain(getattr(self, name), versions=versions)
            # The default is compared without versions: an increased one anywhere in the value keeps the value.
            if _is_always_kept(field) or _as_text(value) != _as_text(canonical_default(field)):
                document[name] = value
        return document

    def fingerprint(self) -> str:
        """Config hash: first 12 hex digits of the sha256 of `canonical`. A field that is added with a default does not
        change it."""
        return fingerprint_of(self.canonical())

    @property
    def is_of_first_version(self) -> bool:
        """Whether every class in it has schema version 1, as all had in version 0.1 of this software."""
        return _as_text(self._canonical(versions=True)) == _as_text(self._canonical(versions=False))

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """A copy with other values at dotted names such as "loop.steps", validated as a whole.

        A value may be a recipe, or its fields. Raises CacheError for an unknown name or an invalid value.
        """
        document = self.model_dump()
        for name, value in changes.items():
            *path, field = name.split(".")
            inner = document
            for step in path:
                inner = inner.get(step) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or field not in inner:
                raise CacheError(f"{type(self).__name__}: found a change of {name!r}, which is not one of its fields")
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
        """Read a recipe. Raises CacheError naming the file and, for each field, what was found and expected."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CacheError(f"{path}: cannot be read: {error}") from error
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise CacheError("\n".join([f"{path}: is no {cls.__name__}", *_issues(error)])) from error

    @classmethod
    def parse(cls, document: object, *, source: str) -> Self:
        """Make a recipe from parsed JSON. Raises CacheError naming `source` and, for each field, what was found and
        expected."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise CacheError("\n".join([f"{source}: is no {cls.__name__}", *_issues(error)])) from error

    @model_validator(mode="before")
    @classmethod
    def _without_removed_fields(cls, document: Any) -> Any:
        if not cls.removed_fields or not isinstance(document, dict):
            return document
        removed = {name for name, value in cls.removed_fields.items() if name in document and document[name] == value}
        return {name: value for name, value in document.items() if name not in removed}


def schema_version(recipe: type[Recipe]) -> int:
    """The schema version of a class; 1 if it states none."""
    return getattr(recipe, "schema_version", 1)


def fingerprint_of(document: object) -> str:
    """First 12 hex digits of the sha256 of JSON with sorted keys and no spaces."""
    return hashlib.sha256(_as_text(document).encode()).hexdigest()[:12]


def differences(found: Recipe, expected: Recipe) -> dict[str, tuple[Any, Any]]:
    """Fields in which two recipes of one class differ, as (found, expected) by dotted names, without RUN_ONLY fields.

    Values are as in `Recipe.canonical`; different members of a union are one difference. Raises TypeError for recipes
    of different classes.
    """
    if type(found) is not type(expected):
        raise TypeError(f"found a {type(found).__name__}, expected a {type(expected).__name__}")
    differ: dict[str, tuple[Any, Any]] = {}
    for name, _ in _compared_fields(type(found)):
        before, now = getattr(found, name), getattr(expected, name)
        if isinstance(before, Recipe) and type(before) is type(now):
            differ |= {f"{name}.{inner}": pair for inner, pair in differences(before, now).items()}
        else:
            pair = _plain(before, versions=True), _plain(now, versions=True)
            if _as_text(pair[0]) != _as_text(pair[1]):
                differ[name] = pair
    return differ


def _compared_fields(recipe: type[Recipe]) -> list[tuple[str, FieldInfo]]:
    return [(name, field) for name, field in recipe.model_fields.items() if RUN_ONLY not in field.metadata]


def _is_always_kept(field: FieldInfo) -> bool:
    names_member = get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
    return field.is_required() or names_member


def canonical_default(field: FieldInfo) -> Any:
    """The default of a field in the form of `Recipe.canonical`, with version 1 of every class."""
    return _plain(field.get_default(call_default_factory=True, validated_data={}), versions=False)


def _plain(value: Any, *, versions: bool) -> Any:
    """A value as JSON that does not change when it is written and read again."""
    if isinstance(value, Recipe):
        return value._canonical(versions=versions)
    if isinstance(value, Mapping):
        return [[_plain(key, versions=versions), _plain(inner, versions=versions)] for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [_plain(inner, versions=versions) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(inner, versions=versions) for inner in value), key=_as_text)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return _plain(to_jsonable_python(value), versions=versions)


def _as_text(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _issues(error: ValidationError) -> list[str]:
    """A line for each invalid field."""
    lines = []
    for issue in error.errors(include_url=False):
        field = ".".join(str(part) for part in issue["loc"]) or "(file)"
        expected = _NO_SUCH_FIELD if issue["type"] == "extra_forbidden" else issue["msg"]
        lines.append(f"  {field}: found {_short(issue['input'])}, expected: {expected}")
    return lines


_NO_SUCH_FIELD = (
    "no such field; if another version of this software wrote it, use that version, or take the field out if its "
    "value is the behaviour without it"
)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
