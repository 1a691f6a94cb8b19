"""Labels as people write them become class names, and what was done about each is told at import."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cache.errors import CacheError
from cache.layouts.labels import read_class_names
from pipelines.caches.import_dataset import ImportDatasetRun, main
from tests.support.data.dataset_layouts import imported


def folder(root: Path, *labels: str, header: str = "video,label\n") -> Path:
    """A folder of videos v0, v1, ... with a label each, written as it stands."""
    root.mkdir()
    for number in range(len(labels)):
        (root / f"v{number}.mp4").touch()
    lines = (f"v{number}.mp4,{label}\n" for number, label in enumerate(labels))
    (root / "labels.csv").write_text(header + "".join(lines), encoding="utf-8")
    return root


def classes(out: Path) -> dict[str, list[str]]:
    """Class -> its videos."""
    document = json.loads((out / "annotations.json").read_text(encoding="utf-8"))
    found: dict[str, list[str]] = {name: [] for name in document["classes"]}
    for video_id, entry in document["database"].items():
        for item in entry["annotations"]:
            found[item["label"]].append(video_id)
    return found


def test_one_class_in_several_spellings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Joined but for case, hyphens and other alphabets, which are told; every class is printed with its videos."""
    labels = (
        "Saut \xe0",
        "Saut a\u0300",
        "High\xa0 Jump",
        "High Jump\u200b",
        "Hand-Stand",
        "handstand",
        "Dive",
        "D\u0456ve",
    )
    quirks = imported(folder(tmp_path / "source", *labels), tmp_path / "out")
    assert {name: len(videos) for name, videos in classes(tmp_path / "out").items()} == {
        "D\u0456ve": 1, "Dive": 1, "Hand-Stand": 1, "High Jump": 2, "Saut \xe0": 2, "handstand": 1,
    }  # fmt: skip
    assert quirks["spellings"]["count"] == 2
    assert quirks["alike"]["items"] == ["'Dive', 'D\\u0456ve'", "'Hand-Stand', 'handstand'"]
    shown = " ".join(capfd.readouterr().out.split())
    assert "6 classes, with their number of videos: 'Dive' 1, 'D\u0456ve' 1, 'Hand-Stand' 1" in shown


def test_several_labels_in_one_cell(tmp_path: Path) -> None:
    """Taken apart at | and ;, and elsewhere where every piece is a label of its own."""
    labels = ("Dive|Run", '"Dive,Run"', "Dive; Run ;", '"Run\nDive"', "Dive & Run", '"Throw, far"', "on/off")
    quirks = imported(folder(tmp_path / "source", *labels), tmp_path / "out")
    first = [f"v{number}" for number in range(5)]
    assert classes(tmp_path / "out") == {"Dive": first, "Run": first, "Throw, far": ["v5"], "on/off": ["v6"]}
    assert quirks["label_lists"]["count"] == 5
    assert quirks["label_lists_kept"]["items"] == ["'Throw, far'", "'on/off'"]


def test_numbers_are_told_and_can_be_named(tmp_path: Path) -> None:
    """Prompts would ask for the action of 41."""
    source = folder(tmp_path / "source", "41", "104.0", "41", header="")
    assert imported(source, tmp_path / "out")["number_labels"]["items"] == ["104.0", "41"]
    (tmp_path / "names.txt").write_bytes("\ufeff41 High kick\r\n104, Long  jump\r\n\r\n7\tDive\r\n".encode("utf-16-le"))
    quirks = imported(source, tmp_path / "named", classes=tmp_path / "names.txt")
    assert classes(tmp_path / "named") == {"High kick": ["v0", "v2"], "Long jump": ["v1"]}
    assert quirks["numbered_labels"]["items"] == ["104.0 is Long jump", "41 is High kick"]
    assert "number_labels" not in quirks


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Dive\nRun\n", "line 1: found 'Dive', expected a number and a name"),
        ("1 Dive\n01 Run\n", "line 2: .* stands there before"),
        ("", "holds no name"),
        ("1 Di\0ve\n", "line 1: .* control character"),
    ],
)
def test_files_of_class_names_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    """With the line, and what was expected."""
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(CacheError, match=rf"names\.txt: {told}"):
        read_class_names(tmp_path / "names.txt")


def test_segments_keep_their_times_when_labels_change(tmp_path: Path) -> None:
    """In ActivityNet's layout as in a table; a video that stands twice is one, told at import."""
    entry = '{"subset": "training", "annotations": [{"label": "%s", "segment": [%d, 9]}]}'
    database = f'"v": {entry % ("Dive|Run", 1)}, "w": {entry % ("Dive", 2)}, "v": {entry % ("Hop ", 3)}'
    (tmp_path / "a.json").write_text(f'{{"database": {{{database}}}}}')
    quirks = imported(tmp_path / "a.json", tmp_path / "out", annotations_only=True)
    assert quirks["double_videos"]["count"] == 1
    assert quirks["spellings"]["items"] == ["'Hop ': 'Hop'"]
    written = json.loads((tmp_path / "out" / "annotations.json").read_text())["database"]
    assert [(item["label"], item["segment"][0]) for item in written["v"]["annotations"]] == [
        ("Dive", 1), ("Run", 1), ("Hop", 3),
    ]  # fmt: skip


def test_names_of_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    """A stray file of another encoding does not stop an import; a line that names one is named itself."""
    source = folder(tmp_path / "source", "Dive")
    Path(os.fsdecode(os.fsencode(source) + b"/caf\xe9.mp4")).touch()
    assert imported(source, tmp_path / "out")["undecodable"]["items"] == ["'caf\\udce9.mp4'"]
    with (source / "labels.csv").open("ab") as file:
        file.write(b"caf\xe9.mp4,Dive\nv0.mp4,Di\0ve\n")
    quirks = imported(source, tmp_path / "out", expect=1, skip_invalid=True)
    assert quirks["undecodable"]["count"] == 1
    assert classes(tmp_path / "out") == {"Dive": ["v0"]}


def test_columns_of_a_spreadsheet_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Which were read as what, and which were ignored."""
    source = folder(tmp_path / "source", "Dive", "Run")
    (source / "labels.csv").write_bytes("\ufeffFilename;Activity;Notes\r\nV0.mp4;x;\r\n".encode())
    assert main(ImportDatasetRun(dataset=tmp_path / "out", source=source)) == 2
    assert "'V0.mp4', and no such file in the folder; there is 'v0.mp4'" in " ".join(capfd.readouterr().out.split())
    (source / "labels.csv").write_bytes("\ufeffFilename;Activity;Notes\r\nv0.mp4;Dive;a, b\r\n\r\n".encode())
    quirks = imported(source, tmp_path / "out")
    assert quirks["columns"]["items"] == ["'Filename': video", "'Activity': label", "'Notes': ignored"]
    assert classes(tmp_path / "out") == {"Dive": ["v0"]}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("labels.xlsx", b"PK\x03\x04", r"labels\.xlsx: is a workbook; save its sheet as CSV"),
        ("labels.csv", b"PK\x03\x04", r"labels\.csv: found a ZIP archive, as an Excel workbook is"),
        ("a.json", b'{"database": {"v": {"subset" "x"}}}', r"a\.json: line 1, column 30: is no JSON"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    """A workbook, one that was renamed, and JSON with a mistake in it, which is in no layout because of it."""
    (tmp_path / "v.mp4").touch()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CacheError, match=told):
        main(ImportDatasetRun(dataset=tmp_path / "out", source=tmp_path))
