"""A default that changes must raise its class's version: fingerprints leave defaults out."""

import copy
import json

from tests.support import recipe_defaults
from tests.support.recipe_defaults import complaints


def test_no_default_changed_without_a_version():
    """Nor is the file behind: it is what the next change is held against."""
    written = json.loads(recipe_defaults.FILE.read_text(encoding="utf-8"))
    assert not (told := complaints(written, recipe_defaults.found_defaults())), "\n".join(told)


def test_a_changed_default_says_what_to_do():
    """Which field, what it was, the version to set and the command; a raised version or a further field is no fault."""
    before = {"a.B": {"schema_version": 1, "defaults": {"width": 4}}}
    after = copy.deepcopy(before)
    after["a.B"]["defaults"]["width"] = 5
    told = "\n".join(complaints(before, after))
    assert "a.B.width: default 5, was 4" in told
    assert "schema_version: ClassVar[int] = 2" in told
    assert recipe_defaults.COMMAND in told

    after["a.B"]["schema_version"] = 2
    assert complaints(before, after) == [
        f"recipe_defaults.json is not that of a.B: run `{recipe_defaults.COMMAND}` and commit it"
    ]
    longer = copy.deepcopy(before)
    longer["a.B"]["defaults"]["depth"] = 1
    assert len(complaints(before, longer)) == 1
    assert "schema_version" not in complaints(before, longer)[0]
    assert complaints(before, before) == []
