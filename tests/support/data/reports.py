"""Small evaluated runs, and the contents of reports, for the tests of the pages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cache.annotations import Dataset, Segment, VideoEntry
from cache.detections import Detection, DetectionTable, write_detections
from cache.features import FeatureGrid, FeatureStore
from cache.recipe import Recipe
from cache.tables.embeddings import TOKENS_TABLE
from cache.tables.schema import DESCRIPTION_KEY, DESCRIPTIONS, KINDS, TOKENS, Kind, TokenRow
from cache.tables.store import PartStore
from pipelines.pages.marked_texts import MarkedText, Priors, PriorsShown
from pipelines.pages.report.content import ReportContent, RunResult, VideoView
from pipelines.pages.report.videos import Judged, JudgedVideo
from pipelines.run_folder.metrics import Metrics
from pipelines.run_folder.recipe import TrainRun
from tests.support.data.rows import described
from tests.support.videos.videos import write_video
from training.evaluation.evaluate import evaluate_detections
from training.evaluation.protocol import PROTOCOLS, Protocol
from training.localization.curves import Curves, save_curves
from training.localization.localize import LocalizeRecipe

GRID = FeatureGrid(streams={"rgb": 4, "flow": 4}, fps=16.0, snippet_frames=8, snippet_stride=8)
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'


class WordsBy(Recipe):
    """Recipe of descriptions or words."""

    descriptions: str = ""


def metrics(run: str = "full", **changes: object) -> Metrics:
    """Scores of two classes at two thresholds."""
    values = {
        "run": run,
        "protocol": Protocol(tious=(0.3, 0.5)),
        "subset": "testing",
        "videos": 2,
        "detections": 3,
        "tious": (0.3, 0.5),
        "map": (0.655, 0.25),
        "average": 0.4525,
        "classes": ("Dive", "Jump"),
        "ap": ((0.8, 0.5), (0.51, 0.0)),
        "unscored": {},
        "left_out": {},
        "localize": LocalizeRecipe(),
    }
    return Metrics.model_validate(values | changes)


def content(text: str = "plain") -> ReportContent:
    """A page in which every text from data is `text`."""
    entry = VideoEntry(text, "testing", 20.0, (text,), (Segment(text, 2.0, 6.0),), None)
    judged = JudgedVideo(entry, (Judged(Detection(text, text, 0.9, 2.0, 7.0), 0.8, True, 0),))
    curve = np.linspace(0, 1, 40)
    view = VideoView(judged, 20.0, {text: curve}, curve, curve / 2, problem=text)
    scores = metrics(run=text, classes=(text, "Jump"), unscored={text: 3}, left_out={text: 2})
    run = RunResult(text, TrainRun(dataset=Path(text), run=Path(text)), scores, ({"step": 10, text: 1.5},))
    other = RunResult(text, run.recipe, scores, run.history)
    grid = GRID.model_copy(update={"streams": {text: 8}})
    said = (Priors(text, text, MarkedText(text, ((0, 2),)), MarkedText(text)),)
    return ReportContent(text, (text,), run, other, grid, (view,), PriorsShown({text: said}, {text: said}))


@dataclasses.dataclass(frozen=True)
class World:
    """What a run is made of."""

    entries: Sequence[VideoEntry]
    """Videos of the subset."""
    found: Sequence[Detection]
    curves: Sequence[Curves]
    classes: tuple[str, ...]


def write_run(data: Path, folder: Path, world: World) -> Path:
    """An evaluated run of the dataset `data`, in `folder`, as the commands leave it, but for its checkpoint."""
    dataset = Dataset("tiny", world.classes, tuple(world.entries))
    dataset.save(data / "annotations.json")
    FeatureStore.create(data / "features", GRID)
    write_detections(folder / "detections.json", world.found)
    save_curves(folder / "curves.npz", world.curves)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 10, "lr": 1e-3, "seconds": 1.0, "host.mil": 0.7}) + "\n")
    TrainRun(dataset=data, run=folder).save(folder / "recipe.json")
    protocol = PROTOCOLS["seconds"].model_copy(update={"tious": (0.3, 0.5)})
    scored = evaluate_detections(dataset, DetectionTable.of(world.found), protocol)
    values = {"videos": scored.videos, "detections": scored.detections, "classes": scored.scores.classes}
    values |= {"map": tuple(scored.scores.map), "average": scored.scores.average}
    values |= {"ap": tuple(map(tuple, scored.scores.ap.tolist())), "protocol": protocol}
    metrics(run=folder.name, **values).save(folder / "metrics.json")
    return folder


def hostile_world(data: Path, *, better: bool = True) -> World:
    """Two plain videos of 20 s and one whose id, file name and class are markup; `better` finds one truth more.

    The T-CAM of Jump rises from 0 to 0.8 over every video, A_KSM stays at 0.5, A_CSR at 0.25.
    """
    classes = ("Jump", SCRIPT)
    path = data / "videos" / f"{IMAGE}.mp4"
    write_video(path, 40)
    entries = [
        VideoEntry(
            "alpha", "testing", 20.0, ("Jump",), (Segment("Jump", 5.0, 10.0), Segment("Jump", 12.0, 16.0)), None
        ),
        VideoEntry("beta", "testing", 20.0, ("Jump",), (Segment("Jump", 2.0, 4.0),), None),
        VideoEntry(IMAGE, "testing", None, (SCRIPT,), (Segment(SCRIPT, 0.2, 1.0),), path, ((1.1, 1.3),)),
    ]
    found = [
        Detection("alpha", "Jump", 0.9, 5.0, 9.0),
        Detection("alpha", "Jump", 0.8, 12.0, 16.0),
        Detection("beta", "Jump", 0.7, *((2.0, 4.0) if better else (8.0, 9.0))),
        Detection(IMAGE, SCRIPT, 0.6, 1.2, 1.6),
        Detection(IMAGE, "Jump", 0.1, 0.2, 0.9),
    ]
    times = np.full(40, 0.5)
    rises = np.stack([np.linspace(0.0, 0.8, 40), np.zeros(40)], axis=1)
    curves = [Curves(entry.video_id, rises, times, times / 2, np.ones(2)) for entry in entries]
    training = VideoEntry("train", "training", 20.0, classes, (), None)
    return World([*entries, training], found, curves, classes)


def describe(data: Path) -> None:
    """Both descriptions of both classes of the training video, and of beta, hostile and with marked words."""
    store = PartStore.create(data / "descriptions", WordsBy(), DESCRIPTIONS, key=DESCRIPTION_KEY)
    text = f"Someone jumps {SCRIPT} {IMAGE}"
    pairs = (("train", "Jump"), ("train", SCRIPT), ("beta", "Jump"))
    keys: list[tuple[str, str, Kind]] = [(video, label, kind) for video, label in pairs for kind in KINDS]
    store.append([described(*key, text) for key in keys])
    words = WordsBy(descriptions=store.home.name)
    tokens = PartStore.create(data / "embeddings", words, TOKENS, key=DESCRIPTION_KEY, table=TOKENS_TABLE)
    tokens.append(
        [
            TokenRow(
                video_id=video,
                action_class=label,
                kind=kind,
                description_sha256="0",
                tokens=("someone", "jumps"),
                token_ids=(0, 1),
                known=(True, True),
                is_action_word=(False, True),
            )
            for video, label, kind in keys
        ]
    )
