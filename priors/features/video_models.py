"""Video models of transformers as encoders: VideoMAE, V-JEPA 2, TimeSformer, ViViT and whatever loads like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from priors.features.network import Network
from priors.features.recipes import EncoderRecipe, Preprocessing
from priors.pretrained.model_files import ModelError, is_folder, resolve_revision, weight_files, weights_digest
from priors.pretrained.whole import load_whole

_ANY_LENGTH = ("vjepa2",)
"""Model types whose positions are relative, so that snippets may have other numbers of frames than in training."""


class _VideoModel(nn.Module):
    """A model without its last linear layer; the mean of its tokens, where it has no head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.has_head = hasattr(model, "classifier")
        if self.has_head:
            self.width: int = model.classifier.in_features
            model.classifier = nn.Identity()
        else:
            self.width = model.config.hidden_size

    def forward(self, snippets: Float[Tensor, "s t c h w"]) -> Float[Tensor, "s d"]:
        """Features of snippets."""
        inputs: dict[str, Any] = {self.model.main_input_name: snippets}
        if self.has_head:
            return self.model(**inputs).logits
        if self.model.config.model_type == "vjepa2":
            inputs["skip_predictor"] = True
        return self.model(**inputs).last_hidden_state.mean(dim=1)


def load_video_model(recipe: EncoderRecipe) -> Network:
    """The network of a folder or hub id. Raises ModelError if there is none, or the recipe asks for too much."""
    from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification

    revision = resolve_revision(recipe.model, recipe.revision, option="streams.*.model")
    commit = {} if is_folder(recipe.model) else {"revision": revision}
    config: Any = AutoConfig.from_pretrained(recipe.model, **commit)
    with_head = any("ForVideoClassification" in name for name in config.architectures or ())
    auto, unused = (AutoModelForVideoClassification, None) if with_head else (AutoModel, "pooler.")
    module = _VideoModel(load_whole(auto, recipe.model, commit, option="streams.*.model", unused=unused))
    made_for = _input(recipe, config, commit)
    return Network(module, module.width, made_for, revision, weights_digest(weight_files(recipe.model, commit)))


def _input(recipe: EncoderRecipe, config: Any, commit: dict[str, str]) -> Preprocessing:
    from transformers import AutoImageProcessor, AutoVideoProcessor

    trained = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    side = getattr(config, "image_size", None) or getattr(config, "crop_size", None)
    if trained is None or side is None:
        raise ModelError(
            f"streams.*.model: {recipe.model}: found no number of frames and no size of pictures in the config of a "
            f"{config.model_type}, expected a video model; image models are of kind image"
        )
    frames = recipe.frames or trained
    if frames != trained and config.model_type not in _ANY_LENGTH:
        raise ModelError(f"streams.*.frames: found {frames}, expected {trained}: {recipe.model} has no other positions")
    if recipe.input == "flow":
        zeros, bounds = (0.0, 0.0), (recipe.flow_bound, recipe.flow_bound)
        return Preprocessing(frames=frames, side=side, shorter_side=None, mean=zeros, spread=bounds)
    auto = AutoVideoProcessor if config.model_type == "vjepa2" else AutoImageProcessor
    processor: Any = auto.from_pretrained(recipe.model, **commit)
    shorter, crop = (pixels(getattr(processor, name, None)) for name in ("size", "crop_size"))
    mean, spread = normalisation(processor)
    taken_from = shorter if shorter is not None and crop == side and shorter > side else None
    return Preprocessing(frames=frames, side=side, shorter_side=taken_from, mean=mean, spread=spread)


def pixels(size: Any) -> int | None:
    """Pixels of a processor's `size` or `crop_size`: the shorter edge, or both edges of a square."""
    if size is None:
        return None
    named = size if isinstance(size, Mapping) else vars(size)
    return named.get("shortest_edge") or named.get("height")


def normalisation(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and spread by channel of pixels from 0 to 255, by which a processor of transformers normalises them."""
    scale = 1 / processor.rescale_factor if processor.do_rescale else 1.0
    offset = 1.0 if getattr(processor, "offset", False) else 0.0  # ViViT's pixels are moved to -1 ... 1 before
    mean, spread = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    return tuple(scale * (value + offset) for value in mean), tuple(scale * value for value in spread)
