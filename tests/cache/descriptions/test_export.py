"""Exports give back what the caches hold, and the documentation of the caches tells the truth."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache.annotations import Dataset
from cache.descriptions.data_card import CardContent, TableCard, data_card
from cache.descriptions.export import export_datasets, export_jsonl, open_tables
from cache.descriptions.flags import MEANINGS
from cache.errors import CacheError
from cache.tables.embeddings import inline_schema, open_tokens
from cache.tables.folders import embeddings_of
from cache.tables.schema import (
    DESCRIPTIONS,
    FLAGS,
    TOKENS,
    VOCABULARY_KEY,
    Description,
    TokenRow,
    VocabularyRow,
    vocabulary_schema,
)
from cache.tables.store import PartStore
from pipelines.caches.export import ExportRun, main
from tests.support.command_line import parse
from tests.support.data.caches import HOSTILE, LABEL, said, small_cache
from tests.support.data.rows import described
from tests.support.paths import ROOT

DOCUMENT = (ROOT / "docs/caches.md").read_text()
KEY = ("video_id", "action_class", "kind")


@pytest.fixture
def store(tmp_path: Path) -> PartStore:
    """The small cache, in the folder `data`."""
    return small_cache(tmp_path / "data")


def test_jsonl_gives_every_column_of_the_last_rows_back(tmp_path, store):
    """As Arrow reads them; times with their zone; texts as they are."""
    path = tmp_path / "x.jsonl"
    main(ExportRun(dataset=tmp_path / "data", to=path))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    expected = [{**row, "created_at": row["created_at"].isoformat()} for row in store.table().to_pylist()]
    assert sorted(lines, key=lambda row: [row[name] for name in KEY]) == expected
    assert all(list(row) == DESCRIPTIONS.names for row in lines)
    assert HOSTILE in {row["description"] for row in lines}


def test_jsonl_of_the_other_tables(tmp_path, store):
    """Words that were taken back are not there; vectors are lists of numbers."""
    main(ExportRun(dataset=tmp_path / "data", to=tmp_path / "v.jsonl", table="vocabulary"))
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert {line["word"]: line["vector"] for line in lines} == {"he": [0, 0], "kicks": [1, 1], "high": [2, 2]}
    words = embeddings_of(tmp_path / "data/embeddings", store.home.name)[0].path
    tables = open_tables(store.home, words)
    gone = TokenRow(
        video_id="v", action_class=LABEL, kind="key", description_sha256="", tokens=(), token_ids=(), known=(),
        is_action_word=(),
    )  # fmt: skip
    tables["tokens"].append([gone])
    dataset = Dataset.load(tmp_path / "data/annotations.json")
    assert export_jsonl(dataset, tables, "tokens", tmp_path / "t.jsonl").rows == {"tokens": 2}


def test_datasets_loads_the_folder(tmp_path, store, monkeypatch):
    """Each configuration with the types of the schema, the subsets as splits, and the last rows alone."""
    store.append([said("t", "key", "Of the test video."), said("stranger", "key", "Not in the annotations.")])
    main(ExportRun(dataset=tmp_path / "data", to=tmp_path / "hub", format="datasets"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    datasets.disable_progress_bars()

    def load(name: str):
        return datasets.load_dataset(str(tmp_path / "hub"), name, cache_dir=str(tmp_path / "hf"))

    found = load("descriptions")
    assert {split: rows.num_rows for split, rows in found.items()} == {"training": 5, "testing": 1}
    assert found["training"].features == datasets.Features.from_arrow_schema(DESCRIPTIONS)
    rows = {tuple(row[name] for name in KEY): row for row in found["training"].to_list()}
    expected = {tuple(row[name] for name in KEY): row for row in store.rows()}
    host = {"made_by": "{}"}
    assert rows == {key: {**row, **host} for key, row in expected.items() if key[0] not in ("t", "stranger")}
    assert load("tokens")["training"].num_rows == 3
    vocabulary = load("vocabulary")["train"]
    assert vocabulary.features == datasets.Features.from_arrow_schema(vocabulary_schema(2))
    assert vocabulary["word"][:] == ["he", "kicks", "high"]


def removed_video(data: Path) -> tuple[Path, Path]:
    """Describe and embed a video that nobody else's words are said of, and take it out of the annotations again; the
    folders of descriptions and of words."""
    store = small_cache(data, texts={"v": "He kicks; high.", "odd'\"&<b>": "A secret kick."})
    words = embeddings_of(data / "embeddings", store.home.name)[0].path
    vocabulary = PartStore.open(words, vocabulary_schema(2), key=VOCABULARY_KEY, table="vocabulary")
    vocabulary.append([VocabularyRow(token_id=9, word="secret", vector=np.ones(2, np.float32))])
    tokens = open_tokens(words)
    (row,) = [row for row in tokens.rows() if row["video_id"] == "odd'\"&<b>"]
    said = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    tokens.append([TokenRow(**{**said, "token_ids": (9, *said["token_ids"][1:])})])
    dataset = Dataset.load(data / "annotations.json")
    left = tuple(video for video in dataset.videos if video.video_id != "odd'\"&<b>")
    replace(dataset, videos=left).save(data / "annotations.json")
    return store.home, words


@pytest.mark.parametrize("table", ["descriptions", "tokens", "vocabulary", None])
def test_a_video_that_was_taken_out_of_the_annotations_is_in_no_export(tmp_path, capsys, table):
    """Neither its rows nor the words that only it used, in either format; how many rows were left out is said."""
    removed_video(tmp_path / "data")
    to = tmp_path / "out"
    kept = {"descriptions": 4, "tokens": 2, "vocabulary": 3}
    if table is None:
        main(ExportRun(dataset=tmp_path / "data", to=to, format="datasets"))
        tables = {path.parent.name: pq.read_table(path) for path in to.rglob("*.parquet")}
        assert {name: len(found) for name, found in tables.items()} == kept
        written = json.dumps([found.to_pylist() for found in tables.values()], default=str)
        assert "2 rows are left out, because the annotations do not have the video." in (to / "README.md").read_text()
    else:
        main(ExportRun(dataset=tmp_path / "data", to=to, table=table))
        written = to.read_text()
        assert len(written.splitlines()) == kept[table]
    assert "secret" not in written
    assert "odd" not in written
    told = capsys.readouterr().out
    left_out = {"vocabulary": 0, None: 2}.get(table, 1)
    assert re.findall(r"left out: (\d+) rows? of videos", told) == ([str(left_out)] if left_out else [])


def test_the_card_says_what_is_known(tmp_path, store):
    """Model, prompts, counts, flags and what was left out; no host; a licence that is not invented."""
    store.append([described("stranger", LABEL)])
    made_by = json.dumps({"host": "secret-machine", "torch": "2.1"})
    changes = {"made_by": made_by, "frame_seconds": ()}
    rows: list[dict[str, Any]] = [{**row, **changes, "flags": tuple(row["flags"])} for row in store.rows()]
    store.append([Description(**row) for row in rows])
    main(ExportRun(dataset=tmp_path / "data", to=tmp_path / "hub", format="datasets"))
    card = (tmp_path / "hub/README.md").read_text()
    assert "`canned` (revision `1`)" in card
    assert "| training | key | 2 | 1 |" in card
    assert "| training | complete | 1 | 1 |" in card
    assert "| loops | repeat themselves | 0 | 1 |" in card
    assert "| refusal | decline to answer | 1 | 0 |" in card
    assert "1 row is left out, because the annotations do not have the video." in card
    assert '5  {"torch": "2.1"}' in card
    assert "secret" not in card
    assert b"secret" not in (tmp_path / "hub/data/descriptions/training.parquet").read_bytes()
    assert "\nlicense:" not in card


def test_front_matter_survives_odd_names():
    """Whatever dataset and splits are called, the YAML is read back, and the text stays Markdown."""
    import yaml

    odd = "a: [b]\n---\n# c `d` <script> \"e\" 'f' ```"
    table = TableCard("descriptions", DESCRIPTIONS, {"train": 3})
    content = CardContent(odd, 2, {"model": odd, "key_prompt": odd}, "ff", (table,), {}, {}, {odd: 1}, {}, 0)
    _, front, text = data_card(content).split("---\n", 2)
    read = yaml.safe_load(front)
    assert read["pretty_name"] == f"{odd}: descriptions of actions"
    assert read["configs"][0]["data_files"] == [{"split": "train", "path": "data/descriptions/train.parquet"}]
    assert [one["name"] for one in read["dataset_info"][0]["features"]] == DESCRIPTIONS.names
    assert "<script>" not in text.partition("````text")[0]


def test_nothing_is_written_over(tmp_path, store):
    """A file or folder that is there stays as it is; a failed export leaves nothing behind."""
    path = tmp_path / "x.jsonl"
    path.write_text("mine")
    for form in ("jsonl", "datasets"):
        with pytest.raises(CacheError, match=r"x\.jsonl: exists already"):
            main(ExportRun(dataset=tmp_path / "data", to=path, format=form))
    assert path.read_text() == "mine"
    (tmp_path / "hub").mkdir()
    other = Dataset("other", (), ())
    with pytest.raises(CacheError, match="has no row of a video of dataset other"):
        export_datasets(other, open_tables(store.home, None), tmp_path / "hub")
    assert list((tmp_path / "hub").iterdir()) == []
    assert not list(tmp_path.glob(".unfinished*"))


def test_what_cannot_be_exported(tmp_path, store):
    """Subsets that would be one split; a table that is not there yet; no cache at all."""
    dataset = Dataset.load(tmp_path / "data/annotations.json")
    videos = [replace(video, subset=f"a{'-_'[n % 2]}b") for n, video in enumerate(dataset.videos)]
    twice = Dataset("tiny", dataset.classes, tuple(videos))
    with pytest.raises(CacheError, match=r"subsets \['a-b', 'a_b'\] would all be the split 'a_b'"):
        export_datasets(twice, open_tables(store.home, None), tmp_path / "hub")
    (tmp_path / "data/embeddings").rename(tmp_path / "elsewhere")
    with pytest.raises(CacheError, match=r"has no tokens yet; run `make priors`"):
        main(ExportRun(dataset=tmp_path / "data", to=tmp_path / "t.jsonl", table="tokens"))
    with pytest.raises(CacheError, match="make priors"):
        main(ExportRun(dataset=tmp_path / "nowhere", to=tmp_path / "t.jsonl"))


def blocks() -> list[str]:
    """The Python of the document, up to the one-liners that tests/test_readme.py runs one by one."""
    return re.findall(r"^```python\n(.*?)^```$", DOCUMENT.partition("\n## A quick look\n")[0], re.M | re.S)


def test_examples_of_the_document_run_and_take_the_last_rows(tmp_path):
    """In the order in which they stand there: each tool shows the rows that count, once."""
    data = tmp_path / "cache/data/demo"
    small_cache(data)
    mark = "\nprint('=' * 8)\n"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", mark.join(blocks())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    _, by_duckdb, by_pandas, by_polars, by_datasets, words = done.stdout.split("=" * 8)
    for shown in (by_duckdb, by_pandas, by_polars):
        assert shown.count("He kicks; high.") == 1
        assert shown.count("failed") == 2
        assert "older" not in shown
    assert "7 rows" in by_datasets
    assert re.search(r"kicks\W+1\W", words)


def types(title: str) -> list[tuple[str, str]]:
    """Columns and types that the document gives for a table."""
    section = DOCUMENT.partition(f"### {title}\n")[2].partition("\n### ")[0]
    return re.findall(r"^\| (\w+) \| ([^|]+) \|", section.partition("| --- |")[2], re.M)


def written(field: pa.Field) -> str:
    """The type of a column in the words of the document."""
    kind = field.type
    if pa.types.is_fixed_size_list(kind):
        return f"fixed_size_list of {kind.value_type}"
    if pa.types.is_list(kind):
        inner = "fixed_size_list" if pa.types.is_fixed_size_list(kind.value_type) else str(kind.value_type)
        return f"list of {inner}"
    return f"{kind} or null" if field.nullable else str(kind)


@pytest.mark.parametrize(
    ("title", "schema"),
    [
        ("descriptions", DESCRIPTIONS),
        ("tokens", TOKENS),
        ("vocabulary", vocabulary_schema(2)),
        ("inline", inline_schema(2, "float32")),
    ],
)
def test_columns_of_the_document_are_those_of_the_schemas(title, schema):
    """Each with its type, in their order."""
    assert types(title) == [(field.name, written(field)) for field in schema]


def test_flags_of_the_document():
    """All of them, with what they mean."""
    rows = re.findall(r"^\| (\w+) \| ([^|]+) \|$", DOCUMENT, re.M)
    assert [row for row in rows if row[0] in FLAGS] == list(MEANINGS.items())


EXPORTS = re.findall(r"^\.venv/bin/python -m pipelines export (.*?)(?:  |(?<=datasets) )", DOCUMENT, re.M)


@pytest.mark.parametrize("line", EXPORTS)
def test_exports_of_the_document_are_understood(line):
    """The options that it names exist."""
    recipe = parse("export", *line.split())
    assert isinstance(recipe, ExportRun)
    assert recipe.dataset == Path("cache/data/demo")


@pytest.mark.parametrize("options", re.findall(r'^make inspect ARGS="([^"]*)"', DOCUMENT, re.M))
def test_inspections_of_the_document_are_understood(options):
    """The options that it names exist, too."""
    assert parse("inspect", "demo", *options.split()) != parse("inspect", "demo")
