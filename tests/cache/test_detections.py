"""Detections in and out of ActivityNet's results JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cache.detections import Detection, DetectionTable, read_detections, write_detections
from cache.errors import CacheError
from tests.support.paths import SHARED

PUBLISHED = SHARED / "data" / "autoloc" / "thumos14_detections.json"
FOUND = [
    Detection("a", "Dive", 0.25, 1.0, 2.5),
    Detection("b", "Swim", 0.5, 0.0, 9.0),
    Detection("a", "Swim", 0.75, 3, 4),
]


def test_detections_survive_json(tmp_path):
    """The same detections, best first within a video, in the official layout."""
    path = tmp_path / "detections.json"
    write_detections(path, FOUND, external_data={"used": True})
    assert read_detections(path) == [FOUND[2], FOUND[0], FOUND[1]]
    document = json.loads(path.read_text())
    assert document["external_data"] == {"used": True}
    assert document["results"]["b"] == [{"label": "Swim", "score": 0.5, "segment": [0.0, 9.0]}]


def test_nothing_found_is_a_valid_file(tmp_path):
    """A model that finds nothing still has results."""
    write_detections(tmp_path / "none.json", [])
    assert read_detections(tmp_path / "none.json") == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        "{",
        "[]",
        "{}",
        '{"results": {"a": [{"label": "x", "score": 1}]}}',
        '{"results": {"a": [{"label": "x", "score": 1, "segment": [1]}]}}',
        '{"results": {"a": [{"label": "x", "score": NaN, "segment": [1, 2]}]}}',
        '{"results": {"a": [{"label": "x", "score": "high", "segment": [1, 2]}]}}',
        '{"results": {"a": "x"}}',
    ],
)
def test_damage_names_the_file(tmp_path, content):
    """Whatever is wrong, the message says in which file."""
    path = tmp_path / "detections.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CacheError, match=r"detections\.json"):
        read_detections(path)


def test_numbers_must_be_finite(tmp_path):
    """A NaN score would sort anywhere."""
    with pytest.raises(CacheError, match="finite"):
        write_detections(tmp_path / "a.json", [Detection("a", "x", float("nan"), 0, 1)])
    assert not (tmp_path / "a.json").exists()


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="published detections are not here")
def test_published_detections_load():
    """A file that another project wrote."""
    assert len(read_detections(PUBLISHED)) == 20763


def test_columns_are_the_rows():
    """Columns and rows say the same, in the order given, and marks choose among them."""
    table = DetectionTable.of(FOUND)
    assert table.rows() == FOUND
    assert (table.videos, table.labels, len(table)) == (("a", "b"), ("Dive", "Swim"), 3)
    assert table.take(np.array([True, False, True])).rows() == [FOUND[0], FOUND[2]]
    assert DetectionTable.of([]).rows() == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x", r"results.b\[1\]: found 'x'"),
        ({"label": 3, "score": 1, "segment": [1, 2]}, r"results.b\[1\].label: found 3"),
        ({"label": "x", "segment": [1, 2]}, r"results.b\[1\].score: found None"),
        ({"label": "x", "score": "high", "segment": [1, 2]}, r"results.b\[1\].score: found 'high'"),
        ({"label": "x", "score": 1, "segment": [1, 2, 3]}, r"results.b\[1\].segment: found \[1, 2, 3\]"),
        ({"label": "x", "score": 1, "segment": [2, 1]}, r"results.b\[1\].segment: found \[2, 1\].*end not before"),
        ({"label": "x", "score": 1, "segment": "12"}, r"results.b\[1\].segment: found '12'"),
        ({"label": "x", "score": True, "segment": [1, 2]}, r"results.b\[1\].score: found True"),
        ({"label": "x", "score": 1, "segment": ["0", "1_0"]}, r"results.b\[1\].segment: found \['0', '1_0'\]"),
        ({"label": " ", "score": 1, "segment": [1, 2]}, r"results: found the name ' ', in which nothing shows"),
    ],
)
def test_the_row_that_is_wrong_is_named(tmp_path, row, message):
    """Video, place, field, what was found and what was expected."""
    good = {"label": "x", "score": "0.5", "segment": ["1", 2]}
    path = tmp_path / "detections.json"
    path.write_text(json.dumps({"results": {"a": [good], "b": [good, row]}}))
    with pytest.raises(CacheError, match=rf"detections\.json: {message}"):
        DetectionTable.read(path)


def test_ids_with_and_without_prefix():
    """An id that is known stays, whatever it begins with; others are tried with and without "v_"."""
    rows = [Detection(video, "x", 1.0, 0.0, 1.0) for video in ("v_a", "b", "v_c", "d")]
    table, changed = DetectionTable.of(rows).named_as({"a", "v_b", "v_c", "c"})
    assert (table.videos, changed) == (("a", "v_b", "v_c", "d"), 2)


def rows_of(*labels: str) -> str:
    """Detections of a video as JSON."""
    return json.dumps([{"label": label, "score": 0.9, "segment": [1, 5]} for label in labels])


def test_a_video_that_stands_there_twice_keeps_its_detections(tmp_path, caplog):
    """Files that were merged: joined and told with both places; refused where detections would count twice."""
    path = tmp_path / "merged.json"
    path.write_text(f'{{"results": {{"v1": {rows_of("Dive")}, "v1": {rows_of("Run")}, "v1": {rows_of("Dive")}}}}}')
    with pytest.raises(CacheError, match=r"merged\.json: results: 'v1' stands there 3 times .*do not agree"):
        read_detections(path)
    path.write_text(f'{{"results": {{"v1": {rows_of("Dive")}, "v1": {rows_of("Run")}}}}}')
    assert [row.label for row in read_detections(path)] == ["Dive", "Run"]
    assert "results.v1 stands there more than once (line 1, column 14; line 1, column " in caplog.text


def test_names_are_compared_without_form_and_white_space():
    """NFC against NFD, no-break and outer spaces; two spellings of one video are refused, of one label joined."""
    rows = [Detection(*names, 1.0, 0.0, 1.0) for names in (("e\u0301", "High\xa0Jump"), ("b ", "High Jump"))]
    table, changed = DetectionTable.of(rows).named_as({"\xe9", "b"})
    assert (table.videos, changed) == (("\xe9", "b"), 2)
    table, respelled = table.labelled_as(["High Jump"])
    assert (table.labels, table.label.tolist()) == (("High Jump",), [0, 0])
    assert respelled == {"High\xa0Jump": "High Jump"}
    both = DetectionTable.of([replace(rows[0], video_id="\xe9"), rows[0]])
    with pytest.raises(CacheError, match=r"two spellings: '\\xe9', 'e\\u0301'"):
        both.named_as({"\xe9"})
