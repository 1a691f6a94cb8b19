"""Any file of detections is scored by one command: one JSON object, or a table, and words on stderr."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from cache.errors import CacheError
from pipelines.runs.evaluate_file import EvaluateFileRun, main
from tests.support.paths import ROOT


def write(path: Path, document: object) -> str:
    """As JSON; the name of the file."""
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Annotations as strangers write them (times as text, nothing of ours), and results in which a video has "v_" in
    front, one is unknown, and there is neither version nor external_data."""
    database = {
        "one": {"subset": "validation", "annotations": [{"segment": ["0.0", "10.0"], "label": "Jump"}]},
        "two": {"subset": "validation", "annotations": [{"segment": [5, 9], "label": "Dive"}], "url": "?"},
        "three": {"subset": "training", "annotations": [{"segment": [5, 9], "label": "Run"}]},
    }
    results = {
        "v_one": [
            {"label": "Jump", "segment": ["0", "6.0"], "score": "0.9"},
            {"label": "Run", "segment": [0, 6], "score": 0.2},
        ],
        "nowhere": [{"label": "Dive", "segment": [5, 9], "score": 0.8}],
        "two": [{"label": "Dive", "segment": [5, 9], "score": 0.7, "note": "x"}],
    }
    annotations = write(tmp_path / "annotations.json", {"version": "1", "database": database})
    return ["--annotations", annotations, "--detections", write(tmp_path / "detections.json", {"results": results})]


def run(*arguments: str) -> None:
    """The command without a process of its own."""
    main(tyro.cli(EvaluateFileRun, args=arguments))


def test_one_json_object_on_stdout(files: list[str]) -> None:
    """As a process: stdout is the object alone; figures by threshold, by class, and the whole protocol."""
    command = [sys.executable, "-m", "pipelines", "evaluate-file", *files]
    options = ["--subset", "validation", "--tious", "0.5:0.05:0.65", "--json"]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert list(found) == ["mAP", "average", "per_class", "protocol"]
    assert found["mAP"] == {"0.5": 0.75, "0.55": 0.75, "0.6": 0.75, "0.65": 0.25}
    assert found["average"] == pytest.approx(0.625)
    assert found["per_class"]["Jump"] == {"0.5": 1.0, "0.55": 1.0, "0.6": 1.0, "0.65": 0.0}
    assert found["per_class"].keys() == {"Dive", "Jump"}
    assert (found["protocol"]["name"], found["protocol"]["subset"]) == ("seconds", "validation")
    assert found["protocol"]["units"] == "seconds"
    assert done.stderr.splitlines() == [
        "1 video matched by adding or removing the prefix 'v_' of the id",
        "1 detections in videos that the protocol does not hold count as false positives "
        "(--outside leave-out drops them)",
        "1 detections are of classes without ground truth in these videos (not in the mean): Run",
    ]


def test_protocol_by_name(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """ActivityNet's thresholds and subset, without detections elsewhere."""
    run(*files, "--protocol", "activitynet13", "--json")
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert list(found["mAP"]) == [f"{k / 100:g}" for k in range(50, 100, 5)]
    assert found["per_class"]["Dive"]["0.95"] == 1.0
    assert "1 detections in videos that the protocol does not hold are left out" in captured.err


def test_the_subset_is_where_the_detections_lie(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--subset` the only one that fits is taken, and said; without `--json` there is a table."""
    run(*files, "--tious", "0.3,0.5")
    captured = capsys.readouterr()
    assert "subset 'validation', in whose videos the detections lie" in captured.err
    assert [line.split() for line in captured.out.splitlines() if line.strip().startswith(("Dive", "Jump", "mAP"))] == [
        ["Dive", "50.0", "50.0", "50.0"],
        ["Jump", "100.0", "100.0", "100.0"],
        ["mAP", "75.0", "75.0", "75.0"],
    ]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"one": [], "three": []}, r"lie in subsets \['training', 'validation'\]; say with --subset"),
        ({"nowhere": []}, r"lie in none of the annotated videos; say with --subset .*\['training', 'validation'\]"),
        ({"one": [], "v_one": []}, "'one' both with and without 'v_'"),
        ({"one": [{"label": "Hop", "segment": [0, 1], "score": 1}]}, "label 'Hop' .* --unknown-labels ignore"),
    ],
)
def test_what_can_not_be_decided_stops(tmp_path: Path, files: list[str], results: dict, message: str) -> None:
    """Never a guess."""
    detections = write(tmp_path / "other.json", {"results": results})
    with pytest.raises(CacheError, match=message):
        run(*files[:2], "--detections", detections)


def test_unknown_labels_can_be_left_out(tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Counted on stderr; the figures are those without them."""
    rows = [{"label": "Hop", "segment": [0, 1], "score": 1}, {"label": "Jump", "segment": [0, 10], "score": 0.5}]
    detections = write(tmp_path / "other.json", {"results": {"one": rows}})
    run(*files[:2], "--detections", detections, "--unknown-labels", "ignore", "--json")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["per_class"]["Jump"]["0.5"] == 1.0
    assert "1 detections of labels that the annotations do not have are left out" in captured.err


def test_it_starts_without_torch() -> None:
    """Nothing of the model is loaded to score a file."""
    code = "import sys, pipelines.runs.evaluate_file; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
