"""Descriptions made elsewhere: every bad line is named, and nothing is written unless all are good."""

import csv
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import priors.imported
from cache.annotations import Dataset, VideoEntry
from cache.descriptions.export import export_jsonl
from cache.errors import CacheError
from cache.files.records import LONGEST_LINE, read_records
from cache.tables.embeddings import load_prior_texts
from cache.tables.folders import newest_folder
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS
from cache.tables.store import PartStore
from pipelines.caches import import_descriptions
from pipelines.caches.import_descriptions import ImportRun
from priors.imported import ImportedRecipe, check_file, import_file
from priors.words.glove import GloveRecipe

GOOD = [
    {"video_id": "a", "action_class": "Dive", "kind": "key", "description": "A person  dives\ninto the pool."},
    {"video_id": "a", "action_class": "Dive", "kind": "complete", "description": "A person runs, and dives 跳水."},
    {"video_id": "a", "action_class": "High Kick", "kind": "key", "description": 'She kicks, "high".'},
    {"video_id": "b", "action_class": "Dive", "kind": "key", "description": "He dives."},
]


THOUGHT = [
    "<think>Hm.</think> A person dives.",
    "Hm.\n</think>\nA person dives.",
    [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "A person dives."}],
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two training videos of two classes, one of another subset; and three word vectors."""
    videos = (
        VideoEntry("a", "training", 9.0, ("Dive", "High Kick"), (), None),
        VideoEntry("b", "training", None, ("Dive",), (), None),
        VideoEntry("t", "testing", None, ("Dive",), (), None),
    )
    dataset = Dataset("tiny", ("Dive", "High Kick"), videos)
    dataset.save(tmp_path / "annotations.json")
    (tmp_path / "words.txt").write_text("a 1 0\nperson 0 1\ndives 1 1\n")
    return dataset


def _jsonl(path: Path, rows: list) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _csv(path: Path, rows: list[dict]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(
            {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
            for row in rows
        )
    return path


def _parquet(path: Path, rows: list[dict]) -> Path:
    names = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    return path


def _run(tmp_path: Path, file: Path, **options) -> ImportRun:
    glove = GloveRecipe(path=tmp_path / "words.txt")
    return ImportRun(dataset=tmp_path, file=file, glove=glove, **{"model_id": "owner/elsewhere", **options})


@pytest.mark.parametrize(("write", "name"), [(_jsonl, "d.jsonl"), (_csv, "d.csv"), (_parquet, "d.parquet")])
def test_the_same_rows_from_every_kind_of_file(dataset, tmp_path, write, name):
    """Columns, optional ones and what the options say instead; white space is collapsed as in our own rows."""
    more = {"prompt": "What?", "model_id": "other", "model_revision": "2", "frame_seconds": [0.5, 1.5], "duration": 2.5}
    file = write(tmp_path / name, [GOOD[0], {**GOOD[1], **more}, *GOOD[2:]])
    recipe = ImportedRecipe.of(file, model="owner/elsewhere", key_prompt="Describe {cls}.")
    checked = check_file(dataset, file, recipe)
    assert (checked.good, checked.bad, checked.problems) == (4, 0, [])
    rows = {
        tuple(row[n] for n in DESCRIPTION_KEY): row for row in import_file(dataset, file, recipe, tmp_path / "d").rows()
    }
    assert len(rows) == 4
    first, second = rows["a", "Dive", "key"], rows["a", "Dive", "complete"]
    assert first["description"] == "A person dives into the pool."
    assert (first["prompt"], first["model_id"], first["model_revision"]) == (
        "Describe Dive.",
        "owner/elsewhere",
        "unstated",
    )
    assert (first["frame_seconds"], first["duration"], first["status"], first["flags"]) == ([], None, "ok", [])
    assert [first[name] for name in ("prompt_tokens", "new_tokens", "finish_reason")] == [None] * 3, "nobody counted"
    assert json.loads(first["generation"]) == {"imported": recipe.file_sha256}
    assert (second["prompt"], second["model_id"], second["model_revision"]) == ("What?", "other", "2")
    assert (second["frame_seconds"], second["duration"]) == ([0.5, 1.5], 2.5)
    assert second["description"] == "A person runs, and dives 跳水."


BAD = {
    b'{"video_id": "a", "action_class"': ("", "is no JSON"),
    b"[1, 2]": ("", "found list, expected a JSON object"),
    b'{"video_id": "a\xff", "action_class": "Dive", "kind": "key", "description": "x"}': ("video_id", "expected UTF-8"),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "caf\xe9"}': (
        "description",
        "expected UTF-8",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "\\ud800"}': (
        "description",
        "expected UTF-8",
    ),
    b'{"video_id": "c", "action_class": "Dive", "kind": "key", "description": "x"}': (
        "video_id",
        "the annotations do not",
    ),
    b'{"video_id": "b", "action_class": "High Kick", "kind": "key", "description": "x"}': (
        "action_class",
        "found 'High Kick', expected a class of video 'b': 'Dive'",
    ),
    b'{"video_id": "b", "action_class": "Dive", "kind": "short", "description": "x"}': (
        "kind",
        "expected key or complete",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": " \\n "}': (
        "description",
        "missing or empty",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key"}': ("description", "is missing or empty"),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": 3}': (
        "description",
        "found 3, expected text",
    ),
    b'{"video_id": 7, "action_class": "Dive", "kind": "key", "description": "x"}': (
        "video_id",
        "found 7, expected text",
    ),
    b'{"video_id": "b", "action_class": "Dive", "kind": "key", "description": "again"}': ("", "duplicate of line 4"),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "x", "duration": -1}': (
        "duration",
        "above 0",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "x", "frame_seconds": [1, "b"]}': (
        "frame_seconds",
        "expected a list of seconds",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "x", "duration": "1_0"}': (
        "duration",
        "found '1_0', expected seconds",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "x", "duration": NaN}': (
        "duration",
        "above 0",
    ),
    b'{"video_id": "t", "action_class": "Dive", "kind": "key", "description": "a\\u0000b"}': (
        "description",
        "null character",
    ),
    b'{"description": "' + b"x" * LONGEST_LINE + b'"}': ("", "is longer than"),
    b"[" * 100_000: ("", "is no JSON"),
}


def test_every_bad_line_is_named(dataset, tmp_path):
    """With its number, its column, what was found and what was expected; good lines among them stay good."""
    file = _jsonl(tmp_path / "d.jsonl", [*GOOD, *BAD, b"", {**GOOD[0], "video_id": "t"}])
    checked = check_file(dataset, file, ImportedRecipe.of(file, model="m"))
    assert (checked.good, checked.bad) == (5, len(BAD))
    for number, (problem, (column, reason)) in enumerate(zip(checked.problems, BAD.values(), strict=True), 5):
        assert (problem.line, problem.column) == (number, column), str(problem)
        assert reason in problem.reason
    assert checked.by_column.total() == len(BAD)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "video_id|action_class|kind|description\na|Dive|key|x\n",
            r"'video_id'; found 'video_id\|action_class\|.*commas",
        ),
        ("video_id,label,kind,description\na,Dive,key,x\n", r"'action_class'; found 'description', 'kind', 'label'"),
    ],
)
def test_a_column_that_is_not_there_is_told_once(dataset, tmp_path, text, told):
    """Not once a line: another separator, another name."""
    (tmp_path / "d.csv").write_text(text)
    recipe = ImportedRecipe.of(tmp_path / "d.csv", model="m")
    with pytest.raises(CacheError, match=told):
        check_file(dataset, tmp_path / "d.csv", recipe)


def test_nothing_is_written_unless_all_is_good(dataset, tmp_path, capsys):
    """One bad line in a thousand stops the import before the first row; --skip-invalid leaves it out and says so."""
    file = _jsonl(tmp_path / "d.jsonl", [*GOOD, {**GOOD[0], "kind": "both"}])
    assert import_descriptions.main(_run(tmp_path, file)) == 2
    captured = capsys.readouterr()
    assert "1 row cannot be imported" in captured.out
    assert "found 'both', expected key or complete" in captured.out
    assert "Nothing was written" in captured.err
    assert not (tmp_path / "descriptions").exists()
    assert import_descriptions.main(_run(tmp_path, file, skip_invalid=True)) == 1
    assert "4 descriptions imported, 1 row left out" in capsys.readouterr().out


def test_an_import_is_embedded_and_audited(dataset, tmp_path, capsys):
    """Ready for training, beside what is still missing; run again, it adds nothing new."""
    file = _jsonl(tmp_path / "d.jsonl", [{**row, "score": 0.5} for row in GOOD])
    assert import_descriptions.main(_run(tmp_path, file)) == 0
    assert import_descriptions.main(_run(tmp_path, file)) == 0
    shown = capsys.readouterr().out
    assert "ignored columns: score" in shown
    assert "2 descriptions of 'training' are missing" in shown
    home = newest_folder(tmp_path / "descriptions").path
    assert home.name == ImportedRecipe.of(file, model="owner/elsewhere").fingerprint()
    store = PartStore.open(home, DESCRIPTIONS, key=DESCRIPTION_KEY)
    assert len(list(store.rows(["video_id"]))) == 4
    texts = load_prior_texts(newest_folder(tmp_path / "embeddings").path)
    assert texts.rows["b", "Dive", "key"].tokens == ("he", "dives", ".")
    # What was exported can be imported: the same texts, under the fingerprint of the file.
    export_jsonl(dataset, {"descriptions": store}, "descriptions", tmp_path / "exported.jsonl")
    again = ImportedRecipe.of(tmp_path / "exported.jsonl", model=None)
    assert check_file(dataset, tmp_path / "exported.jsonl", again).good == 4
    assert import_descriptions.main(_run(tmp_path, tmp_path / "exported.jsonl", embed=False)) == 0


def test_who_wrote_it_must_be_known(dataset, tmp_path):
    """By an option or by each row."""
    file = _jsonl(tmp_path / "d.jsonl", GOOD)
    checked = check_file(dataset, file, ImportedRecipe.of(file, model=None))
    assert checked.by_column == {"model_id": 4}
    assert "--model-id" in str(checked.problems[0])
    assert checked.problems[0].line == 1


def test_the_fingerprint_is_the_content_and_who_wrote_it(dataset, tmp_path):
    """Another file, model or prompt is another store; the file's name and place are not."""
    file = _jsonl(tmp_path / "d.jsonl", GOOD)
    base = ImportedRecipe.of(file, model="m").fingerprint()
    assert ImportedRecipe.of(file.rename(tmp_path / "e.jsonl"), model="m").fingerprint() == base
    file = tmp_path / "e.jsonl"
    others = [ImportedRecipe.of(file, model="n"), ImportedRecipe.of(file, model="m", model_revision="2")]
    others += [ImportedRecipe.of(file, model="m", key_prompt="{cls}?")]
    _jsonl(file, GOOD[1:])
    others += [ImportedRecipe.of(file, model="m")]
    assert len({base, *(one.fingerprint() for one in others)}) == 5


def test_a_file_changed_between_check_and_import_is_refused(dataset, tmp_path):
    """What is written is what was checked."""
    file = _jsonl(tmp_path / "d.jsonl", GOOD)
    recipe = ImportedRecipe.of(file, model="m")
    _jsonl(file, GOOD[:1])
    with pytest.raises(CacheError, match="was changed while it was read"):
        import_file(dataset, file, recipe, tmp_path / "descriptions")


def test_odd_csv(tmp_path):
    """Line breaks in quotes, a row of another length, an open quote, columns named twice, an empty file."""
    file = tmp_path / "d.csv"
    file.write_text('video_id,description\na,"two\nlines"\nb\nc,x,y\n\nd,ok\ne,"open\n')
    found = [(record.line, record.values.get("video_id"), record.problem) for record in read_records(file)]
    assert found[:2] == [(2, "a", None), (4, None, "found 1 field, expected 2 as in the header")]
    assert found[2] == (5, None, "found 3 fields, expected 2 as in the header")
    assert found[3] == (7, "d", None)
    assert found[4][0] == 8
    assert "is no CSV" in (found[4][2] or "")
    file.write_text("a,a\n1,2\n")
    with pytest.raises(CacheError, match="two columns have the same name"):
        list(read_records(file))
    file.write_text("")
    assert list(read_records(file)) == []


def test_files_that_cannot_be_read(dataset, tmp_path):
    """Missing, of an unknown kind, or damaged: one message with the path."""
    (tmp_path / "d.parquet").write_bytes(b"PAR1 not")
    (tmp_path / "d.xlsx").touch()
    for name, told in (
        ("none.jsonl", "cannot be read"),
        ("d.xlsx", r"found suffix '\.xlsx', expected one of"),
        ("d.parquet", "cannot be read"),
    ):
        with pytest.raises(CacheError, match=rf"{name}: {told}"):
            list(read_records(tmp_path / name))
    file = _jsonl(tmp_path / "d.jsonl", [])
    with pytest.raises(CacheError, match="holds no description; expected rows with video_id"):
        import_descriptions.main(_run(tmp_path, file, embed=False))


def test_memory_does_not_grow_with_the_file(dataset, tmp_path, monkeypatch):
    """Ten times the lines, good for nothing, need the same memory."""
    monkeypatch.setattr(priors.imported, "_KEPT", 50)
    line = json.dumps({**GOOD[0], "video_id": "nowhere", "description": "x" * 500})

    def peak(lines: int) -> int:
        file = tmp_path / f"{lines}.jsonl"
        file.write_text(f"{line}\n" * lines)
        recipe = ImportedRecipe.of(file, model="m")
        tracemalloc.start()
        check_file(dataset, file, recipe)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)
    assert peak(1500) < peak(150) + 100_000  # the file is 900 KB


@pytest.mark.parametrize("said", THOUGHT)
def test_reasoning_is_cut_off(dataset, tmp_path, said):
    """And counted, and marked in the row; a text that is reasoning alone is no description."""
    file = _jsonl(tmp_path / "rows.jsonl", [{**GOOD[0], "description": said}, GOOD[3]])
    recipe = ImportedRecipe.of(file, model="m")
    checked = check_file(dataset, file, recipe)
    assert (checked.good, checked.reasoning) == (2, 1)
    rows = {row["video_id"]: row for row in import_file(dataset, file, recipe, tmp_path / "descriptions").rows()}
    assert (rows["a"]["description"], rows["a"]["flags"]) == ("A person dives.", ["reasoning"])
    assert rows["b"]["flags"] == []
    file = _jsonl(tmp_path / "rows.jsonl", [{**GOOD[0], "description": "<think>Hm."}, GOOD[3]])
    checked = check_file(dataset, file, ImportedRecipe.of(file, model="m"))
    assert [str(one) for one in checked.problems] == [
        "line 1: description: the text is reasoning that never ended; no description follows it"
    ]
