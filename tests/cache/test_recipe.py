"""Recipes are closed, frozen, and known by a fingerprint."""

import json

import pytest
from pydantic import PositiveInt, ValidationError

from cache.errors import CacheError
from cache.recipe import Recipe


class Inner(Recipe):
    """Nested."""

    width: PositiveInt = 4
    """How wide."""


class Outer(Recipe):
    """A recipe."""

    rate: float = 0.1
    names: tuple[str, ...] = ("a", "b")
    inner: Inner = Inner()


def test_a_recipe_survives_json(tmp_path):
    """Saved and loaded recipes are equal, and so are their fingerprints."""
    recipe = Outer(rate=0.25, names=("ü",), inner=Inner(width=7))
    recipe.save(tmp_path / "deep" / "recipe.json")
    assert Outer.load(tmp_path / "deep" / "recipe.json") == recipe
    assert Outer.load(tmp_path / "deep" / "recipe.json").fingerprint() == recipe.fingerprint()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["recipe.json"]


def test_the_fingerprint_follows_the_values():
    """Any changed value changes it; the order of fields and of keys does not."""

    class Swapped(Recipe):
        inner: Inner = Inner()
        names: tuple[str, ...] = ("a", "b")
        rate: float = 0.1

    prints = [Outer(), Outer(rate=0.2), Outer(names=("b", "a")), Outer(inner=Inner(width=5))]
    assert len({recipe.fingerprint() for recipe in prints}) == 4
    assert Swapped().fingerprint() == Outer().fingerprint()
    assert len(Outer().fingerprint()) == 12
    assert int(Outer().fingerprint(), 16) >= 0


def test_the_fingerprint_is_what_it_says():
    """First 12 hex digits of the sha256 of canonical JSON, frozen here: it names folders on people's disks."""
    assert Inner().canonical() == {}
    assert Inner(width=7).canonical() == {"width": 7}
    assert Inner(width=7).fingerprint() == "52c74a5f72db"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value):
    """JSON has no NaN, and a fingerprint of one would equal nothing."""
    with pytest.raises(ValidationError):
        Outer(rate=value)


def test_recipes_are_frozen_and_closed():
    """A typo is an error, not a new field."""
    with pytest.raises(ValidationError):
        Outer.model_validate({"rat": 0.1})
    with pytest.raises(ValidationError):
        Outer().rate = 1.0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"rat": 1}', ["rat"]),
        ('{"inner": {"width": -1}}', ["inner.width", "-1", "greater than 0"]),
        ("{", ["recipe.json"]),
        (None, ["cannot be read"]),
    ],
)
def test_a_bad_file_names_field_found_and_expected(tmp_path, content, told):
    """The message is enough to mend the file."""
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CacheError) as error:
        Outer.load(path)
    assert str(path) in str(error.value)
    assert all(part in str(error.value) for part in told)


def test_help_comes_from_the_docstrings():
    """The command line shows the docstring below a field."""
    assert Inner.model_json_schema()["properties"]["width"]["description"] == "How wide."
    assert json.loads(Outer().model_dump_json())["inner"] == {"width": 4}
