"""A fingerprint changes with what changes a result, and with nothing else."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, PositiveInt, create_model

from cache.errors import CacheError
from cache.recipe import RUN_ONLY, Recipe, differences


class Colour(Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Left(Recipe):
    """One member of a union."""

    kind: Literal["left"] = "left"
    width: PositiveInt = 4


class Right(Recipe):
    """The other, with the same fields."""

    kind: Literal["right"] = "right"
    width: PositiveInt = 4


Side = Annotated[Left | Right, Field(discriminator="kind")]


class Whole(Recipe):
    """Every kind of field."""

    rate: float = 1
    place: Path = Path("here")
    colour: Colour = Colour.RED
    names: tuple[str, ...] = ("a", "b")
    side: Side = Left()
    wide: Left = Left(width=9)
    sides: tuple[Side, ...] = ()
    streams: dict[str, PositiveInt] = {}  # noqa: RUF012  # frozen with the recipe
    anything: dict[str, Any] = {}  # noqa: RUF012
    workers: Annotated[PositiveInt, RUN_ONLY] = 2
    """How many work."""


_SIDES = st.builds(Left, width=st.integers(1, 9)) | st.builds(Right, width=st.integers(1, 9))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
_WHOLES = st.builds(
    Whole,
    rate=st.floats(-3, 3) | st.integers(-3, 3),
    place=st.sampled_from([Path("here"), Path("there/below")]),
    colour=st.sampled_from(Colour),
    names=st.lists(st.sampled_from("abc"), max_size=3).map(tuple),
    side=_SIDES,
    wide=st.builds(Left, width=st.integers(8, 10)),
    sides=st.lists(_SIDES, max_size=2).map(tuple),
    streams=st.dictionaries(st.sampled_from(["rgb", "flow"]), st.integers(1, 3)),
    anything=st.dictionaries(st.text(max_size=2), _JSON, max_size=2),
    workers=st.integers(1, 3),
)


def _with_one_more(recipe: Any, kind: Any, default: Any) -> Any:
    return create_model(recipe.__name__, __base__=recipe, added=(kind, default))


@settings(max_examples=25)  # each builds validators
@given(_WHOLES, st.sampled_from([(int, 3), (Side, Right(width=7)), (tuple[str, ...], ("x",)), (Left, Left(width=8))]))
def test_a_field_that_is_added_with_a_default_changes_no_fingerprint(recipe, added):
    """A new option orphans nothing, whatever its default, and whatever else was chosen."""
    longer = _with_one_more(Whole, *added).model_validate(recipe.model_dump())
    assert longer.fingerprint() == recipe.fingerprint()


def test_a_field_that_is_added_deep_inside_changes_no_fingerprint():
    """Neither does one of a recipe in a field, or in a tuple, even where the field's default is not its class's."""
    longer: Any = _with_one_more(Left, int, 3)
    outer, after = (
        create_model("Outer", __base__=Recipe, one=(part, part(width=9)), many=(list[part], []), width=(int, 1))  # pyright: ignore[reportInvalidTypeForm]
        for part in (Left, longer)
    )
    for choices in ({}, {"one": {"width": 4}}, {"many": [{}, {"width": 2}]}, {"width": 3}):
        assert outer.model_validate(choices).fingerprint() == after.model_validate(choices).fingerprint()


@settings(max_examples=25)  # each builds validators
@given(_WHOLES, _WHOLES)
def test_fingerprints_are_equal_where_nothing_but_how_it_runs_differs(one, other):
    """Unequal values give unequal fingerprints; `workers` gives none."""
    same = json.dumps(one.model_dump(mode="json", exclude={"workers"})) == json.dumps(
        other.model_dump(mode="json", exclude={"workers"})
    )
    if same:
        assert one.fingerprint() == other.fingerprint()
    assert (one.canonical() == other.canonical()) == (one.fingerprint() == other.fingerprint())
    assert (differences(one, other) == {}) == (one.fingerprint() == other.fingerprint())
    assert one.changed({"workers": 7}).fingerprint() == one.fingerprint()


@settings(max_examples=25)  # each builds validators
@given(_WHOLES)
def test_a_fingerprint_outlives_json(recipe):
    """Tuples become lists, paths text, and 1 may come back as 1.0."""
    assert Whole.model_validate_json(recipe.model_dump_json()).fingerprint() == recipe.fingerprint()
    assert Whole.model_validate(json.loads(recipe.model_dump_json())).fingerprint() == recipe.fingerprint()


def test_a_default_that_is_no_float_yet_equals_the_float_that_is_read_back():
    """Defaults are not validated: `rate: float = 1` is an integer until it is written."""
    assert Whole(rate=1.0).fingerprint() == Whole().fingerprint() != Whole(rate=2.0).fingerprint()


@pytest.mark.parametrize(
    "changed",
    [
        {"rate": 2.0},
        {"place": Path("there")},
        {"colour": "blue"},
        {"names": ("b", "a")},
        {"side.width": 5},
        {"side": Right()},
        {"wide": Left()},
        {"sides": [Left()]},
        {"sides": [Right()]},
        {"streams": {"rgb": 4}},
        {"anything": {"deep": True}},
    ],
    ids=str,
)
def test_a_value_that_is_not_the_default_changes_the_fingerprint(changed):
    """Each kind of field does."""
    assert Whole().changed(changed).fingerprint() != Whole().fingerprint()


def test_true_is_not_one():
    """Python has them equal."""
    assert len({Whole(anything={"deep": value}).fingerprint() for value in (True, 1, "1", None)}) == 4


def test_members_of_a_union_differ_by_their_names():
    """Two hosts with nothing but defaults are two hosts."""
    assert Left().fingerprint() != Right().fingerprint()
    assert Whole(side=Left()).fingerprint() != Whole(side=Right()).fingerprint()
    assert Whole(sides=(Left(), Right())).fingerprint() != Whole(sides=(Right(), Left())).fingerprint()


def test_the_order_of_a_mapping_counts():
    """Streams are columns in their order."""
    streams = {"rgb": 4, "flow": 4}
    turned = dict(reversed(streams.items()))
    assert Whole(streams=streams).fingerprint() != Whole(streams=turned).fingerprint()
    assert list(differences(Whole(streams=streams), Whole(streams=turned))) == ["streams"]


class Second(Left):
    """Means something else by now."""

    schema_version: ClassVar[int] = 2


def test_a_raised_version_changes_every_fingerprint_that_the_class_is_in():
    """Also where it stands with nothing but defaults, inside the default of a field."""
    assert Second().fingerprint() != Left().fingerprint()
    for hold in (lambda part: part, lambda part: (part,), lambda part: {"x": part}):
        holders = [create_model("Holder", __base__=Recipe, part=(Any, hold(kind()))) for kind in (Left, Second)]
        assert holders[0]().fingerprint() != holders[1]().fingerprint()


def test_the_mark_of_a_field_shows_in_no_help(capsys):
    """The command line and the schema are those of the type itself."""

    class Bare(Recipe):
        workers: PositiveInt = 2
        """How many work."""

    class Marked(Recipe):
        workers: Annotated[PositiveInt, RUN_ONLY] = 2
        """How many work."""

    helps = []
    for recipe in (Bare, Marked):
        with pytest.raises(SystemExit):
            tyro.cli(recipe, prog="x", args=["--help"])
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1]
    assert "How many work." in helps[0]
    assert Bare.model_json_schema()["properties"] == Marked.model_json_schema()["properties"]
    assert tyro.cli(Marked, args=["--workers", "5"]).workers == 5


def test_differences_are_named_by_dots_and_leave_out_how_it_runs():
    """(found, expected); another member of a union is one difference."""
    found = Whole(side=Left(width=5), workers=9)
    assert differences(found, Whole()) == {"side.width": (5, 4)}
    assert differences(Whole(rate=0.5), Whole(side=Right(), place=Path("x"))) == {
        "rate": (0.5, 1),
        "place": ("here", "x"),
        "side": ({"kind": "left"}, {"kind": "right"}),
    }
    with pytest.raises(TypeError, match="Left"):
        differences(Left(), Right())


class Shrunk(Recipe):
    """Had `old`, which was False for what is done now."""

    removed_fields: ClassVar = {"old": False}
    width: int = 4


def test_a_field_that_was_removed_is_read_where_it_says_what_is_done_without_it(tmp_path):
    """Any other value is refused by name, as is a field that there never was; both messages say what to do."""
    path = tmp_path / "recipe.json"
    path.write_text('{"old": false, "width": 5}')
    assert Shrunk.load(path) == Shrunk(width=5)
    assert Shrunk.parse({"old": False}, source="x") == Shrunk()
    for text, field in (('{"old": true}', "old: found True"), ('{"odd": false}', "odd: found False")):
        path.write_text(text)
        with pytest.raises(CacheError, match=rf"(?s)recipe\.json.*{field}.*no such field.*take the field out"):
            Shrunk.load(path)
