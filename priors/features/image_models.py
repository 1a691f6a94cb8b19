"""Image models as encoders, averaged over the frames of a snippet: CLIP, SigLIP and DINO of transformers, or timm's."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from priors.features.network import Network
from priors.features.recipes import EncoderRecipe, Preprocessing
from priors.features.video_models import normalisation, pixels
from priors.pretrained.model_files import (
    ModelError,
    config_file,
    is_folder,
    resolve_revision,
    weight_files,
    weights_digest,
)
from priors.pretrained.whole import load_whole

_FRAMES = 4
_CLASS_TOKEN = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext", "vit")
"""Model types whose first token stands for the picture."""


class _ImageModel(nn.Module):
    """The mean over the frames of a snippet of what is read from a model's output, through its `last` layer."""

    def __init__(self, model: nn.Module, read: Callable[[Any], Tensor], last: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.read, self.last = model, read, last or nn.Identity()

    def forward(self, snippets: Float[Tensor, "s t c h w"]) -> Float[Tensor, "s d"]:
        """Features of snippets."""
        pictures = self.last(self.read(self.model(rearrange(snippets, "s t c h w -> (s t) c h w"))))
        return reduce(pictures, "(s t) d -> s d", "mean", s=len(snippets))


def load_image_model(recipe: EncoderRecipe) -> Network:
    """The network of a folder or hub id. Raises ModelError if there is none, or it is of no known kind."""
    revision = resolve_revision(recipe.model, recipe.revision, option="streams.*.model")
    commit = {} if is_folder(recipe.model) else {"revision": revision}
    config = json.loads(config_file(recipe.model, commit).read_text(encoding="utf-8"))
    module, made_for = (_timm if "architecture" in config else _transformers)(recipe, commit)
    with torch.inference_mode():
        width = module(torch.zeros(1, 1, 3, made_for.side, made_for.side)).shape[1]
    return Network(module, width, made_for, revision, weights_digest(weight_files(recipe.model, commit)))


def _transformers(recipe: EncoderRecipe, commit: dict[str, str]) -> tuple[_ImageModel, Preprocessing]:
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, CLIPVisionModelWithProjection

    kind = AutoConfig.from_pretrained(recipe.model, **commit).model_type
    load = partial(load_whole, model=recipe.model, commit=commit, option="streams.*.model")
    if kind == "clip":
        whole = load(AutoModel)
        module = _ImageModel(whole.vision_model, lambda found: found.pooler_output, last=whole.visual_projection)
    elif kind == "clip_vision_model":
        module = _ImageModel(load(CLIPVisionModelWithProjection), lambda found: found.image_embeds)
    elif kind in ("siglip", "siglip_vision_model"):
        found = load(AutoModel)
        module = _ImageModel(getattr(found, "vision_model", found), lambda found: found.pooler_output)
    elif kind in _CLASS_TOKEN:
        module = _ImageModel(load(AutoModel, unused="pooler."), _class_token)
    else:
        raise ModelError(
            f"streams.*.model: {recipe.model}: found a {kind}, expected for kind image a model of timm, or one of "
            f"{', '.join(('clip', 'siglip', *_CLASS_TOKEN))}; video models are of kind transformers"
        )
    processor: Any = AutoImageProcessor.from_pretrained(recipe.model, **commit)
    shorter = pixels(processor.size)
    cropped = getattr(processor, "do_center_crop", False)
    side = pixels(processor.crop_size) if cropped else shorter
    if side is None:
        raise ModelError(f"streams.*.model: {recipe.model}: its preprocessor_config.json names no size of pictures")
    mean, spread = normalisation(processor)
    return module, Preprocessing(
        frames=recipe.frames or _FRAMES, side=side, shorter_side=shorter, mean=mean, spread=spread
    )


def _class_token(found: Any) -> Tensor:
    return found.last_hidden_state[:, 0]


def _timm(recipe: EncoderRecipe, commit: dict[str, str]) -> tuple[_ImageModel, Preprocessing]:
    try:
        import timm
        from timm.data.config import resolve_model_data_config
    except ModuleNotFoundError as error:
        raise ModelError(
            f"streams.*.model: {recipe.model} is a model of timm, which is not installed; run `pip install timm`"
        ) from error
    name = f"local-dir:{recipe.model}" if is_folder(recipe.model) else f"hf-hub:{recipe.model}@{commit['revision']}"
    model = timm.create_model(name, pretrained=True, num_classes=0).eval()
    found = resolve_model_data_config(model)
    side = found["input_size"][-1]
    mean, spread = (tuple(255.0 * value for value in found[name]) for name in ("mean", "std"))
    made_for = Preprocessing(
        frames=recipe.frames or _FRAMES, side=side, shorter_side=int(side / found["crop_pct"]), mean=mean, spread=spread
    )
    return _ImageModel(model, lambda vectors: vectors), made_for
