"""Find actions in new videos with a trained run: JSON, CSV, subtitles and pages; no MLLM, no text, no annotations."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field, PositiveInt

from cache.errors import CacheError
from cache.files.atomic import remove_unfinished
from cache.recipe import Recipe, fingerprint_of
from cache.wording import amount
from pipelines.console import progress, say, table
from pipelines.predicting.encoding import SnippetDecodeRecipe, encoders_of
from pipelines.predicting.hub import SCHEME, local_run
from pipelines.predicting.inputs import Failure, Input, find_inputs
from pipelines.predicting.predictor import Prediction, Predictor, digest_of
from pipelines.predicting.results import INDEX, SEGMENTS, Finished, Results
from pipelines.predicting.selection import Selection
from pipelines.run_folder.files import ENCODERS_FILE, RECIPE_FILE, warnings_of
from pipelines.run_folder.recipe import TrainRun
from priors.burned_in import burn_in
from priors.video.frames import VideoError
from training.localization.localize import LocalizeRecipe
from training.nn.devices import DeviceName

_VERSION = 1
"""Increased when the same predictions would be written in another form."""


class PredictRun(Recipe):
    """Which videos, with which run, and what is written where."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos, folders of them, patterns ("clips/*.mp4"), lists of them (.txt, one a line), features (.npy or a folder
    of features)."""
    run: str
    """Folder of the run, or hf:owner/name[@revision] on the Hugging Face Hub."""
    output: Path | None = None
    """Folder of the results; predictions/<name of the run> when not given."""
    selection: Annotated[Selection, tyro.conf.arg(name="")] = Selection()
    """Which segments are written."""
    burn_in: bool = False
    """Also write the videos with their segments drawn at the bottom (videos/<name>.mp4); encoding takes a while."""
    pages: bool = True
    """Write HTML pages: one for each video, and an index."""
    frames: PositiveInt = 12
    """Number of frames above the timeline of a page."""
    again: bool = False
    """Predict videos again that are finished."""
    encoders: dict[str, Path] = Field(default={})
    """Where the weights of encoders are, by stream: --encoders rgb FOLDER flow FOLDER. When not given, they are looked
    for in the run (encoders/), here, in models/, and on the Hub."""
    checkpoint: Literal["last", "best"] = "last"
    """last: checkpoint of the last step. best: checkpoint with the best validation score."""
    unfinished: bool = False
    """Use a training that is not finished, at its last checkpoint."""
    localize: LocalizeRecipe = LocalizeRecipe()
    """Post-processing; what options do not set is as in the run, as for `make eval`."""
    device: DeviceName | None = None
    """Device of the models; loop.device of the training when not given."""
    decode: SnippetDecodeRecipe = SnippetDecodeRecipe()
    """Parallel decoding ahead of the encoders."""

    def as_trained(self, fields: Set[str]) -> PredictRun:
        """The same with the post-processing that goes with the run's training, but for the fields that options set."""
        recipe = local_run(self.run) / RECIPE_FILE
        return self.changed(TrainRun.load(recipe).localize_changes(but=fields)) if recipe.exists() else self


def main(recipe: PredictRun) -> int:
    """Predict the videos that are not finished; 1 if any could not be used."""
    if not recipe.inputs:
        raise CacheError("inputs: found none, expected videos, folders, patterns, lists, or features")
    inputs, failures = find_inputs(recipe.inputs)
    predictor = Predictor(
        recipe.run,
        encoders=recipe.encoders,
        localize=recipe.localize,
        checkpoint=recipe.checkpoint,
        device=recipe.device,
        decode=recipe.decode,
        frames=recipe.frames,
        unfinished=recipe.unfinished,
    )
    recipe.selection.refuse_unknown(predictor.classes)
    name = recipe.run.removeprefix(SCHEME) if recipe.run.startswith(SCHEME) else predictor.run.resolve().name
    folder = recipe.output or Path("predictions") / name.replace("/", "_")
    results = Results(folder, name, _settings(recipe, predictor), recipe.selection, recipe.pages)
    for place in (folder, results.file("", "").parent):
        remove_unfinished(place)
    done = {} if recipe.again else {one: had for one in inputs if (had := results.finished(one)) is not None}
    if done:
        say(f"{amount(len(done), 'video')} finished earlier; --again predicts them again")
    missing = [one for one in inputs if one not in done]
    failures += _predict(recipe, predictor, results, missing, done)
    facts = [f"{1 / predictor.grid.boundary_seconds(1):.3g} snippets a second"]
    finished = [done[one] for one in inputs if one in done]
    results.write_all(finished, failures, classes=predictor.classes, grid=predictor.grid, facts=facts)
    return _tell(results, finished, failures, predictor)


def _predict(
    recipe: PredictRun, predictor: Predictor, results: Results, inputs: list[Input], done: dict[Input, Finished]
) -> list[Failure]:
    """Predict the inputs and write their files; returns those that could not be used."""
    failures: list[Failure] = []
    with progress("predicting") as report:

        def write(one: Input, prediction: Prediction) -> None:
            try:
                if recipe.burn_in and not one.is_features:
                    drawn = recipe.selection.likely(prediction.video, recipe.selection.of(prediction.detections)).drawn
                    burn_in(one.path, results.file(one.name, ".mp4"), [item.detection for item in drawn])
            except VideoError as error:
                failures.append(Failure(one.name, error.why))
                return
            done[one] = results.write(one, prediction, burned=recipe.burn_in)
            tell("")

        def tell(pace: str) -> None:
            report(sum(item in done for item in inputs) + len(failures), len(inputs), pace)

        unused = predictor.predict_all(inputs, results.features, write, tell)
    return failures + unused


def _settings(recipe: PredictRun, predictor: Predictor) -> str:
    """Hash of all that the files of a video depend on, but for the video."""
    recorded = (predictor.run / ENCODERS_FILE).exists()
    return fingerprint_of(
        {
            "version": _VERSION,
            "checkpoint": digest_of(predictor.checkpoint),
            "encoders": encoders_of(predictor.run).fingerprint() if recorded else "",
            "localize": predictor.localize.canonical(),
            "selection": recipe.selection.canonical(),
            "written": [recipe.pages, recipe.frames, recipe.burn_in],
        }
    )


def _tell(results: Results, done: list[Finished], failures: list[Failure], predictor: Predictor) -> int:
    found = sum(len(results.selection.likely(one.video, one.detections).drawn) for one in done)
    shown = results.folder / (INDEX if results.pages else SEGMENTS)
    say(f"{amount(found, 'segment')} in {amount(len(done), 'video')}: {shown}")
    if parts := [[one.video.video_id, one.note] for one in done if one.note]:
        table("Read in part", ["video", "reason"], parts)
    for warning in warnings_of(predictor.run):
        say(f"warning: {warning}")
    if failures:
        table("Not used", ["file", "reason"], [[failure.name, failure.reason] for failure in failures])
    return 1 if failures else 0
