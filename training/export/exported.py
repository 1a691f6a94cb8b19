"""A model in an ONNX file, run by onnxruntime: needs numpy and this module's own packages, but no torch.

Axes: b videos, t snippets, d features, c action classes, k = c + 1 (last = background), p points of the head.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float
from pydantic import ValidationError

from cache.detections import Detection
from cache.errors import CacheError
from cache.features import FeatureGrid
from cache.recipe import Recipe
from training.batches.sampling import uniform
from training.errors import TrainingError
from training.localization.curves import Curves
from training.localization.localize import LocalizeRecipe
from training.localization.proposals import Candidates, best_points
from training.postprocess import detections_of, snippets_of

if TYPE_CHECKING:
    import onnxruntime

FEATURES = "features"
"""The input: (b, t, d) float32, the streams' columns in the order of the grid; videos of one length, not padded."""
OUTPUTS: Mapping[str, str] = {
    "cas": "(b, t, c) fused T-CAM: probability of each class in each snippet",
    "attention": "(b, t) attention of the host, in [0, 1]",
    "video_scores": "(b, c) probability of each class in the video, of the kind that the post-processing asks for",
    "logits": "(b, t, k) the host's own T-CAM, the background last",
    "point_scores": "(b, p, c) with a localization head: probability of each class at each of its points",
    "segments": "(b, p, 2) with a localization head: start and end around each point, in snippets",
}
"""The outputs, all float32."""
MISSING = (
    "exported models need the packages onnx, onnxruntime and onnxscript; run `pip install onnx onnxruntime onnxscript` "
    "(to run a file, onnxruntime is enough)"
)
METADATA = "mllm4wtal"
"""Key of the file's metadata; its value is the JSON of `ModelCard`."""


class ModelCard(Recipe):
    """What must be known of the model to feed it and to read it."""

    classes: tuple[str, ...]
    """Names, in the order of the outputs' classes."""
    grid: FeatureGrid
    """Streams with their widths, and how snippets were cut from videos."""
    localize: LocalizeRecipe
    """Post-processing: from the outputs to detections."""
    num_snippets: int | None
    """Snippets of a video in training; read where localize.snippets is `training`."""
    stretch: bool
    """Whether shorter videos were stretched to as many."""
    run: str
    """Name of the run."""
    host: str
    """Kind of its host."""
    step: int
    """Steps that it was trained for."""
    encoders: Any = None
    """The features' encoders.json, if there is one: the model, sampling and preprocessing of each stream."""


@dataclass(frozen=True)
class ExportedModel:
    """A model in an ONNX file: `open` it, then `detect`."""

    session: onnxruntime.InferenceSession
    card: ModelCard

    @classmethod
    def open(cls, path: Path | str, *, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Self:
        """Open a file that `make export-model` wrote. Raises `TrainingError` if onnxruntime is missing, or the file is
        no such file."""
        try:
            import onnxruntime
        except ImportError as error:
            raise TrainingError(MISSING) from error
        if not Path(path).exists():
            raise TrainingError(f"{path}: no such file; `make export-model` writes one")
        try:
            session = onnxruntime.InferenceSession(str(path), providers=list(providers))
        except Exception as error:  # onnxruntime has a class of its own for each kind of damage
            raise TrainingError(f"{path}: cannot be read as an ONNX model: {error}") from error
        text = session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise TrainingError(f"{path}: metadata: found no {METADATA!r}, expected that of `make export-model`")
        try:
            return cls(session, ModelCard.model_validate(json.loads(text)))
        except (ValueError, ValidationError, CacheError) as error:
            raise TrainingError(f"{path}: metadata {METADATA!r}: {error}") from error

    def outputs(self, features: Float[np.ndarray, "b t d"]) -> dict[str, np.ndarray]:
        """The outputs by name (`OUTPUTS`). Raises `TrainingError` for features of another shape."""
        width = self.card.grid.width
        if features.ndim != 3 or features.shape[2] != width or 0 in features.shape:
            expected = f"(videos, snippets, {width}) for the streams {self.card.grid.streams}"
            raise TrainingError(f"features: found shape {features.shape}, expected {expected}")
        names = [output.name for output in self.session.get_outputs()]
        found = self.session.run(names, {FEATURES: np.ascontiguousarray(features, dtype=np.float32)})
        return dict(zip(names, map(np.asarray, found), strict=True))

    def detect(
        self, video_id: str, features: Float[np.ndarray, "t d"], *, duration: float | None = None
    ) -> list[Detection]:
        """Detections of one video in seconds, best first, as `make eval` has them. Without `duration` (seconds) they
        are clipped at the end of the last snippet."""
        card, length = self.card, len(features)
        count = snippets_of(length, card.localize, num_snippets=card.num_snippets, stretch=card.stretch)
        seen = features if count == length else features[uniform(length, count)]
        found = {name: values[0] for name, values in self.outputs(seen[None]).items()}
        curves = Curves(video_id, found["cas"], found["attention"], None, found["video_scores"], found["logits"])
        return detections_of(
            curves,
            self._candidates(found),
            recipe=card.localize,
            grid=card.grid,
            classes=card.classes,
            length=length,
            duration=duration,
        )

    def _candidates(self, found: Mapping[str, np.ndarray]) -> Candidates | None:
        if "segments" not in found:
            return None
        recipe = self.card.localize
        return best_points(
            found["segments"], found["point_scores"], min_score=recipe.head_min_score, top=recipe.head_most
        )
