"""Frozen figures of the plain evaluation (benchmarks/evaluation/), which need nothing beside the repository.

Where published detections are at hand, the plain evaluation itself is held against what was published of them.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.evaluation.evaluation_goldens import DIAGNOSED, FOLDER, documents
from benchmarks.evaluation.plain_diagnosis import KINDS
from benchmarks.evaluation.plain_evaluation import PROTOCOLS as PLAIN
from benchmarks.evaluation.plain_evaluation import PlainProtocol, average_precision, evaluate, steps
from cache.annotations import Dataset, VideoEntry
from cache.detections import DetectionTable
from pipelines.runs.evaluate_file import EvaluateFileRun, main
from tests.support.paths import SHARED
from training.evaluation.diagnosis.diagnose import diagnose
from training.evaluation.diagnosis.schema import DiagnosisRecipe
from training.evaluation.evaluate import counted, evaluate_detections
from training.evaluation.protocol import PROTOCOLS, ProtocolName

AUTOLOC = SHARED / "data" / "autoloc"
GOLDENS = SHARED / "goldens" / "post_evaluators.npz"
UM_TRUTH = SHARED / "data" / "thumos14" / "um_layout" / "gt.json"
FIGURES = json.loads((FOLDER / "figures.json").read_text())
EXACT = {"rtol": 0, "atol": 1e-12}


def goldens(name: ProtocolName) -> tuple[Dataset, DetectionTable]:
    """The drawn set; for a protocol of so many videos, with empty ones up to their number."""
    dataset = Dataset.load(FOLDER / "annotations.json")
    lacking = (PROTOCOLS[name].videos or 0) - FIGURES["evaluation"][name]["videos"]
    empty = tuple(VideoEntry(f"empty_{number}", "testing", None, (), (), None) for number in range(lacking))
    return replace(dataset, videos=(*dataset.videos, *empty)), DetectionTable.read(FOLDER / "detections.json")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_has_its_frozen_figures(name: ProtocolName) -> None:
    """Every class and threshold, which videos and detections count, and which are left out."""
    dataset, detections = goldens(name)
    expected = FIGURES["evaluation"][name]
    found = evaluate_detections(dataset, detections, PROTOCOLS[name])
    assert found.scores.tious == tuple(expected["tious"])
    assert found.scores.classes == tuple(expected["ap"])
    np.testing.assert_allclose(found.scores.ap, list(expected["ap"].values()), **EXACT)
    np.testing.assert_allclose(found.scores.map, expected["map"], **EXACT)
    assert found.scores.average == pytest.approx(expected["average"], abs=1e-12)
    assert found.scores.unscored == expected["unscored"]
    assert (found.detections, found.outside) == (expected["detections"], expected["outside"])
    assert found.left_out.get("ambiguous", 0) == expected["ambiguous"]
    assert found.videos == (PROTOCOLS[name].videos or expected["videos"])


def test_the_command_prints_the_frozen_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """From the two files to JSON, rounding nothing."""
    annotations, detections = FOLDER / "annotations.json", FOLDER / "detections.json"
    main(EvaluateFileRun(annotations=annotations, detections=detections, subset="testing", as_json=True))
    found = json.loads(capsys.readouterr().out)
    expected = FIGURES["evaluation"]["seconds"]
    assert list(found["mAP"].values()) == pytest.approx(expected["map"], abs=1e-12)
    assert {label: list(ap.values()) for label, ap in found["per_class"].items()} == {
        label: pytest.approx(ap, abs=1e-12) for label, ap in expected["ap"].items()
    }


@pytest.mark.parametrize("name", DIAGNOSED)
def test_the_diagnosis_has_its_frozen_figures(name: ProtocolName) -> None:
    """Kinds of error among the best detections, what each kind costs, misses, and extents."""
    dataset, detections = goldens(name)
    what = counted(dataset, detections, PROTOCOLS[name])
    found = diagnose(what, recipe=DiagnosisRecipe(), name=name, classes=dataset.classes)
    expected = FIGURES["diagnosis"][name]
    np.testing.assert_allclose(found.map, FIGURES["evaluation"][name]["map"], **EXACT)
    np.testing.assert_allclose(found.missed, expected["missed"], **EXACT)
    for ours, theirs in zip(found.errors, expected["errors"], strict=True):
        top = dict(theirs["top"])
        assert ours.top[0].right == top.pop("right")
        assert ours.top[0].errors == top
        assert list(ours.gain) == list(KINDS)
        assert ours.gain == {kind: pytest.approx(gain, abs=1e-12) for kind, gain in theirs["gain"].items()}
    extent, wanted = found.completeness.overall, expected["completeness"]
    assert extent.missed is not None
    assert extent.outside is not None
    measured = (extent.paired, extent.missed.mean, extent.outside.mean, extent.time_missed, extent.time_outside)
    assert measured == pytest.approx(tuple(wanted.values()), abs=1e-9)


def test_the_files_are_what_their_script_writes() -> None:
    """A changed script, or figures mended by hand, would be found."""
    for name, text in documents().items():
        frozen = (FOLDER / name).read_text()
        if name == "figures.json":
            assert _numbers(json.loads(text)) == pytest.approx(_numbers(json.loads(frozen)), abs=1e-12)
        else:
            assert text == frozen


def _numbers(value: object) -> dict[str, float]:
    """Every number of a JSON document by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {f"{key}/{path}": number for key, entry in items for path, number in _numbers(entry).items()}
    assert isinstance(value, int | float)
    return {"": float(value)}


def test_the_set_holds_what_evaluators_stumble_over() -> None:
    """Else the figures would prove less than their script promises."""
    dataset, detections = goldens("seconds")
    truths = [(video.video_id, s) for video in dataset.split("testing") for s in video.segments]
    assert len(set(truths)) < len(truths)
    assert any(s.start == s.end for _, s in truths)
    assert any(not video.segments for video in dataset.split("testing"))
    assert {label for label in dataset.classes if all(s.label != label for _, s in truths)} == {"Stroll", "Vault"}
    assert len(np.unique(detections.score)) < len(detections) / 4
    assert (detections.segments[:, 0] == detections.segments[:, 1]).any()
    assert "nowhere" in detections.videos


def test_the_plain_average_precision_by_hand() -> None:
    """Hits at ranks 1 and 3 of 4 instances: 1/4 at precision 1, 1/4 at 2/3; a miss before a hit is lifted by it."""
    assert average_precision([True, False, True], 4) == pytest.approx((1 + 2 / 3) / 4)
    assert average_precision([False, True, True], 2) == pytest.approx(2 / 3)
    assert average_precision([], 3) == 0


@pytest.mark.skipif(not AUTOLOC.exists(), reason=f"{AUTOLOC} is not there")
def test_the_plain_evaluation_gives_published_figures() -> None:
    """20,763 published detections on THUMOS14 score what their authors published, to three decimals."""
    annotations, results = (
        json.loads((AUTOLOC / f"thumos14_{name}.json").read_text()) for name in ("ground_truth", "detections")
    )
    found = evaluate(annotations, results, PlainProtocol(steps(0.1, 0.9, 9), subset="test", strangers_count=True))
    assert [round(value, 3) for value in found["map"]] == [0.467, 0.417, 0.358, 0.29, 0.212, 0.134, 0.058, 0.016, 0.002]


@pytest.mark.skipif(not GOLDENS.exists() or not UM_TRUTH.exists(), reason=f"{SHARED} is not there")
def test_the_plain_evaluation_gives_the_public_evaluator_s_figures() -> None:
    """Every class and threshold of 7,513 predictions, as UM's copy of the official script has them."""
    golden, annotations = np.load(GOLDENS), json.loads(UM_TRUTH.read_text())
    labels = sorted({row["label"] for entry in annotations["database"].values() for row in entry["annotations"]})
    columns = (golden[f"pred/{name}"].tolist() for name in ("video", "label", "score", "start_end_seconds"))
    results: dict[str, list[dict]] = {}
    for video, label, score, segment in zip(*columns, strict=True):
        results.setdefault(video, []).append({"label": labels[label], "score": score, "segment": segment})
    plain = PlainProtocol(PLAIN["seconds"].tious, subset="test", strangers_count=True)
    found = evaluate(annotations, {"results": results}, plain)
    np.testing.assert_allclose(list(found["ap"].values()), golden["um/ap_iou_by_class"].T, **EXACT)
