"""The encoder of one stream: snippets of any video in, one feature vector each out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from priors.features.flow import chosen_method
from priors.features.network import Network
from priors.features.recipes import EncoderRecipe, FeaturesRecipe, RecordedEncoder
from priors.features.snippets import CENTRE, Snippets, View, crop
from priors.pretrained.torchvision_cpu import make_torchvision_importable

if TYPE_CHECKING:
    from torch import Tensor


_CENTRE = [(CENTRE, False)]
_TEN_CROPS = [(place, mirrored) for mirrored in (False, True) for place in (CENTRE, (0, 0), (0, 1), (1, 0), (1, 1))]
"""Place of the crop, and whether it is mirrored."""


class Encoder:
    """One stream. Raises ModelError if its network cannot be loaded, CacheError if its flow cannot be computed."""

    def __init__(self, recipe: EncoderRecipe, *, device: str | None = None) -> None:
        make_torchvision_importable()
        import torch

        method = chosen_method(recipe.flow_method) if recipe.input == "flow" else "dis"
        self.recipe = recipe.model_copy(update={"flow_method": method})
        """The recipe, with the method of flow that is taken."""
        network = _load(recipe)
        self.width, self.revision, self.input = network.width, network.revision, network.input
        self.weights = network.weights
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._dtype = getattr(torch, recipe.dtype)
        self._module = network.module.eval().to(self.device, self._dtype)
        self._mean, self._spread = (
            torch.tensor(values, device=self.device) for values in (network.input.mean, network.input.spread)
        )
        self.view = View(
            recipe.input,
            frames=network.input.frames,
            side=network.input.side,
            shorter_side=network.input.shorter_side,
            whole=recipe.crops == "ten",
            method=method,
        )
        """Input of the encoder for a snippet."""

    def encode(self, snippets: Sequence[Snippets]) -> Float32[np.ndarray, "s w"]:
        """Features of snippets, which may be of several videos, in one batch."""
        import torch

        arrays = [part.array() for part in snippets]
        found = []
        with torch.inference_mode():
            for place, mirrored in _TEN_CROPS if self.view.whole else _CENTRE:
                pixels = torch.from_numpy(np.concatenate([crop(array, self.view.side, place) for array in arrays]))
                inputs = self._normalised(pixels.to(self.device))
                found.append(self._module(self._mirrored(inputs) if mirrored else inputs).float())
            return torch.stack(found).mean(dim=0).cpu().numpy()

    def _normalised(self, pixels: Tensor) -> Tensor:
        """Snippets (s, t, h, w, c) as the network gets them, (s, t, c, h, w)."""
        pixels = pixels.float()
        if self.recipe.input == "flow":
            pixels = pixels.clamp(-self.recipe.flow_bound, self.recipe.flow_bound)
        return ((pixels - self._mean) / self._spread).movedim(-1, 2).to(self._dtype)

    def _mirrored(self, inputs: Tensor) -> Tensor:
        """Mirrored left to right; flow then goes the other way in x, its first channel."""
        inputs = inputs.flip(-1)
        if self.recipe.input == "flow":
            inputs[:, :, 0] *= -1
        return inputs

    def record(self) -> RecordedEncoder:
        """What encoders.json says of it."""
        named = {"model": Path(self.recipe.model).resolve().name} if Path(self.recipe.model).exists() else {}
        return RecordedEncoder(
            **{**self.recipe.model_dump(), **named, "revision": self.revision},
            weights=self.weights,
            preprocessing=self.input,
        )


def load_encoders(recipe: FeaturesRecipe, *, device: str | None = None) -> dict[str, Encoder]:
    """The encoders of all streams, in order. Raises ModelError or CacheError as `Encoder` does."""
    return {name: Encoder(stream, device=device) for name, stream in recipe.streams.items()}


def _load(recipe: EncoderRecipe) -> Network:
    match recipe.kind:
        case "transformers":
            from priors.features.video_models import load_video_model

            return load_video_model(recipe)
        case "i3d":
            from priors.features.i3d import load_i3d

            return load_i3d(recipe)
        case "image":
            from priors.features.image_models import load_image_model

            return load_image_model(recipe)
