"""JSON is read strictly: whatever Python's parser would take without a word is a message with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cache.errors import CacheError
from cache.files.json_text import finite_number, joined_lists, parse_json, read_json
from cache.recipe import Recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": {"b": 1,\n "b": 2}}', r"a: 'b' stands there twice \(line 1, column 8; line 2, column 2\)"),
        ('[{"k": 1}, {"k": 1, "k": 1, "k": 1}]', r"\[1\]: 'k' stands there 3 times"),
        ('{"a": [1, {"x": NaN}]}', r"line 1, column 17: a\[1\]\.x: found NaN, expected a finite number"),
        ('{"a": -Infinity}', "a: found -Infinity"),
        ('{"a": 1e999}', "a: found 1e999"),
        ('{"a": -1' + "0" * 400 + "}", "a: found -1000.* of 402 characters"),
        ('{"a": 1' + "0" * 5000 + "}", "a: found 1000.* of 5001 characters"),
        ('{"caf\\udce9": 1}', r"line 1, column 2: the key 'caf\\udce9', which is no Unicode text"),
        ('{"a": ["x\\uD83D"]}', r"a\[0\]: found 'x\\ud83d', which is no Unicode text"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1,\n "b" 2}', r"line 2, column 6: is no JSON: expecting ':' delimiter, found '2'"),
        ('{"a": "x\0"}', r"column 9: is no JSON: invalid control character, found '\\x00'"),
        ('{"a": 1', "found the end of the file"),
    ],
)
def test_what_is_odd_has_its_place(text: str, told: str) -> None:
    """Line, column and field."""
    with pytest.raises(ValueError, match=told):
        parse_json(text)


def test_what_is_sound_is_read() -> None:
    """Pairs of surrogates are a character; the longest numbers of a float; signs of JSON in text."""
    assert parse_json('{"a": "\\ud83d\\ude00", "b": [1' + "0" * 305 + ', 1.5], "c": "{,}"}') == {
        "a": "\U0001f600",
        "b": [10**305, 1.5],
        "c": "{,}",
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    """With a byte order mark or without."""
    (tmp_path / "a.json").write_bytes('{"é": "ü"}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == ({"é": "ü"}, [])


def test_bytes_that_are_no_text_have_their_place(tmp_path: Path) -> None:
    """As a file of Windows' own encoding has them."""
    (tmp_path / "a.json").write_bytes(b'{"a":\n "caf\xe9"}')
    with pytest.raises(CacheError, match=r"a\.json: line 2, column 6: found the byte 0xe9, .* save the file as UTF-8"):
        read_json(tmp_path / "a.json")


def test_named_objects_are_joined_and_told(tmp_path: Path) -> None:
    """Equal entries once, lists without a common item joined, others refused with both places."""
    path = tmp_path / "a.json"
    path.write_text('{"results": {"v": [1], "w": [3],\n "v": [2], "w": [3]}}')
    document, joined = read_json(path, joins={"results": joined_lists})
    assert document == {"results": {"v": [1, 2], "w": [3]}}
    assert [(one.field, one.done) for one in joined] == [
        ("results.v", "joined"),
        ("results.w", "equal, taken once"),
    ]
    assert joined[0].places == ("line 1, column 14", "line 2, column 2")
    path.write_text('{"results": {"v": [1, 2], "v": [2]}}')
    with pytest.raises(CacheError, match=r"results: 'v' stands there twice .*do not agree"):
        read_json(path, joins={"results": joined_lists})
    path.write_text('{"results": {"v": [1], "v": [2]}, "other": {"v": 1, "v": 1}}')
    with pytest.raises(CacheError, match="other: 'v' stands there twice"):
        read_json(path, joins={"results": joined_lists})


def test_recipes_name_a_field_once(tmp_path: Path) -> None:
    """Pydantic takes the last."""

    class Steps(Recipe):
        steps: int

    (tmp_path / "r.json").write_text('{"steps": 1, "steps": 2}')
    with pytest.raises(CacheError, match=r"r\.json: is no Steps: \(file\): 'steps' stands there twice"):
        Steps.load(tmp_path / "r.json")
    (tmp_path / "r.json").write_bytes(json.dumps({"steps": 3}).encode("utf-8-sig"))
    assert Steps.load(tmp_path / "r.json").steps == 3


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        ("-2.5e1", -25.0),
        (" 3 ", 3.0),
        (True, None),
        ("1_0", None),
        ("nan", None),
        ("1e999", None),
        ([1], None),
    ],
)
def test_numbers_may_be_text_and_truth_values_are_none(value, number):
    """Of what Python's float takes, a little less."""
    assert finite_number(value) == number
