"""The config of a describer (captioning model), and which of its settings change a text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import PositiveInt

from cache.recipe import RUN_ONLY, Recipe
from priors.describers.options import GenerationRecipe, PicturesRecipe, ServerRecipe, TextSettings
from priors.pretrained.model_files import ModelError, model_id, resolve_revision


class DescriberRecipe(Recipe):
    """The captioning model (MLLM), and how it runs."""

    model: str = "lkhl/VideoLLaMA3-2B-Image-HF"
    """Hub id or folder of a video chat model in transformers' format; with a server, the name of the model there."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; None = its main branch. With a server, the revision to record."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of weights and arithmetic; auto = bfloat16 (float16 on a GPU without it), float32 without a GPU."""
    attention: Annotated[Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"], RUN_ONLY] = "sdpa"
    """Attention kernel."""
    device_map: Annotated[str, RUN_ONLY] = "auto"
    """Placement of the weights: auto (accelerate distributes them over all devices), balanced, cpu, cuda:1 ..."""
    quantization: str | None = None
    """Quantization: int8 or int4 (bitsandbytes, needs a GPU), or a quantization_config of transformers as JSON."""
    batch_size: Annotated[PositiveInt, RUN_ONLY] = 8
    """Requests per batch."""
    max_pixels: PositiveInt | None = None
    """Largest number of pixels of a frame, for any number of frames. None = the model's own limit, which for
    VideoLLaMA3 and Qwen3-VL is one of the whole video, so that more frames are smaller. Only for models with variable
    frame sizes."""
    key_tokens: PositiveInt = 64
    """Largest number of new tokens of a key description."""
    complete_tokens: PositiveInt = 256
    """Largest number of new tokens of a complete description."""
    generation: GenerationRecipe = GenerationRecipe()
    """How texts are generated; greedy by default."""
    retry: GenerationRecipe = GenerationRecipe(temperature=0.7, top_p=0.9, repetition_penalty=1.15)
    """How a flagged text is regenerated (see run.again); by default sampled, and less repetitive."""
    server: ServerRecipe = ServerRecipe()
    """An OpenAI-compatible server to use instead of a model in this process."""


def describer_identity(recipe: DescriberRecipe) -> tuple[str, str]:
    """(model_id, model_revision) of a describer, without loading it or contacting a server.

    A server does not report the revision of its weights: it is the one that the recipe states, or "unstated". Raises
    ModelError if there is no such model.
    """
    if recipe.server.url is not None:
        return recipe.model, recipe.revision or "unstated"
    return model_id(recipe.model), resolve_revision(recipe.model, recipe.revision)


def text_settings(recipe: DescriberRecipe) -> TextSettings:
    """All settings of the recipe that change a text, and none that affect speed only.

    `retry` is not among them: it affects single texts, whose rows record it. Raises ModelError if two settings exclude
    each other.
    """
    refuse_conflicts(recipe)
    settings = TextSettings(
        key_tokens=recipe.key_tokens, complete_tokens=recipe.complete_tokens, generation=recipe.generation
    )
    if recipe.server.url is not None:
        pictures = PicturesRecipe(jpeg_quality=recipe.server.jpeg_quality, say_times=recipe.server.say_times)
        return settings.model_copy(update={"server": pictures})
    here = {
        "dtype": resolve_dtype(recipe.dtype),
        "quantization": recipe.quantization,
        "max_pixels": recipe.max_pixels,
    }
    return settings.model_copy(update=here)


def refuse_conflicts(recipe: DescriberRecipe) -> None:
    """Raise ModelError for settings that exclude each other."""
    for name, settings in (("generation", recipe.generation), ("retry", recipe.retry)):
        if settings.beams > 1 and settings.temperature > 0:
            raise ModelError(f"describer.{name}: beams above 1 and a temperature above 0 exclude each other")
        if recipe.server.url is not None and (settings.beams > 1 or settings.no_repeat_ngram):
            raise ModelError(f"describer.{name}: servers support neither beams nor no_repeat_ngram; leave them out")
    if recipe.server.url is not None:
        for name in ("quantization", "max_pixels"):
            if getattr(recipe, name) is not None:
                raise ModelError(f"describer.{name}: is decided by the server; leave it out with describer.server.url")


def resolve_dtype(dtype: Literal["auto", "float32", "bfloat16", "float16"]) -> str:
    """The precision that a describer runs in on this machine."""
    if dtype != "auto":
        return dtype
    import torch

    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
