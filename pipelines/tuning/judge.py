"""The criteria of one trial: its models draw the curves of the held-out videos, which every candidate of the
post-processing turns into detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cache.annotations import Dataset, VideoEntry
from cache.features import FeatureGrid
from pipelines.tuning.recipe import TrialRun, TrialScores
from pipelines.tuning.split import HELD, labels_of
from training.evaluation.label_free.criteria import Candidate, Model, criteria
from training.evaluation.label_free.relevance import relevance_map
from training.inference import draw_curves, load_run
from training.localization.curves import Curves
from training.localization.localize import LocalizeRecipe, localize
from training.localization.proposals import Candidates

Drawn = tuple[Curves, Candidates | None]


def judge(recipe: TrialRun) -> TrialScores:
    """The scores of a trial whose trainings are finished."""
    datasets = [Dataset.load(fold.dataset / "annotations.json") for fold in recipe.folds]
    store = recipe.folds[0].open_features()
    held = [[video for video in dataset.videos if video.subset == HELD] for dataset in datasets]
    videos = [video for own in held for video in own]
    first = np.cumsum([0, *map(len, held)])
    labels = labels_of(videos, datasets[0].classes)
    features = [store.load(video.video_id) for video in videos]
    halved = [np.repeat(one[::2], 2, axis=0)[: len(one)] for one in features]
    drawn, again = [], []
    for fold, dataset in zip(recipe.folds, datasets, strict=True):
        trained = load_run(fold.run, dataset, store, device=fold.train.loop.device)
        for kept, shown in ((drawn, features), (again, halved)):
            pairs = zip(videos, shown, strict=True)
            kept.append([draw_curves(trained, v.video_id, one, recipe=recipe.localize) for v, one in pairs])
    models = [
        Model(
            held_out=slice(first[place], first[place + 1]),
            video_scores=np.stack([one.video_scores for one, _ in curves]).astype(np.float64),
            cams=[one.cas.astype(np.float64) for one, _ in curves],
            attentions=[one.attention.astype(np.float64) for one, _ in curves],
        )
        for place, curves in enumerate(drawn)
    ]
    classes, grid = datasets[0].classes, store.grid
    scores = []
    for changes in recipe.candidates:
        # a map holds the best detection at each place, whether or not others there are suppressed
        one = recipe.localize.changed({**changes, "suppression": "none"})
        maps, beside = (
            [[_map(c, h, v, one, grid, classes) for (c, h), v in zip(curves, videos, strict=True)] for curves in passes]
            for passes in (drawn, again)
        )
        scores.append(criteria(Candidate(models, maps, beside, labels, features)))
    return TrialScores(scores=tuple(scores))


def _map(
    curves: Curves,
    head: Candidates | None,
    video: VideoEntry,
    recipe: LocalizeRecipe,
    grid: FeatureGrid,
    classes: Sequence[str],
) -> np.ndarray:
    """Relevance of every class over the snippets of a video."""
    found = localize(
        video.video_id,
        recipe=recipe,
        grid=grid,
        classes=tuple(classes),
        duration=video.duration,
        video_scores=curves.video_scores.astype(np.float64),
        cas=curves.cas.astype(np.float64),
        attention=curves.attention.astype(np.float64),
        head=head,
    )
    place = {label: index for index, label in enumerate(classes)}
    return relevance_map(
        np.array([(grid.position(one.start), grid.position(one.end)) for one in found]).reshape(-1, 2),
        np.array([place[one.label] for one in found], dtype=np.int64),
        np.array([one.score for one in found]),
        length=len(curves.cas),
        classes=len(classes),
    )
