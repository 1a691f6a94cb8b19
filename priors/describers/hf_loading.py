"""Loads processor and model of a video chat model from a hub id or a folder, without running code from there."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

from priors.describers.recipe import DescriberRecipe, resolve_dtype
from priors.pretrained.model_files import ModelError, is_folder
from priors.pretrained.torchvision_cpu import make_torchvision_importable

_KEPT = ("bos_token_id", "eos_token_id", "pad_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens")
"""Fields of a checkpoint's generation_config that belong to its vocabulary; its sampling settings are ignored."""


def load(recipe: DescriberRecipe, revision: str) -> tuple[Any, Any]:
    """(processor, model in eval mode) at `revision`. Raises ModelError if it cannot be loaded or is no video chat
    model."""
    make_torchvision_importable()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    # A folder's revision is a hash, which from_pretrained does not take.
    commit = {} if is_folder(recipe.model) else {"revision": revision}
    quantization = quantization_config(recipe.quantization)
    try:
        processor = AutoProcessor.from_pretrained(recipe.model, trust_remote_code=False, **commit)
        _require_video_chat(recipe.model, processor)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            recipe.model,
            dtype=getattr(torch, resolve_dtype(recipe.dtype)),
            attn_implementation=recipe.attention,
            device_map=recipe.device_map,
            quantization_config=quantization,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **commit,
        )
    except ModelError:
        raise
    except Exception as error:  # loading a checkpoint can raise anything
        raise ModelError(
            f"describer.model: {recipe.model} cannot be loaded: {error}{_why(recipe.model, commit)}"
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"describer.model: {recipe.model} lacks {len(missing)} weights of its architecture, such as {missing[0]}; "
            "download it again, or choose its conversion to transformers' format"
        )
    _drop_sampling_settings(model)
    return processor, model.eval()


def quantization_config(choice: str | None) -> Any:
    """The quantization_config for transformers. Raises ModelError if it is unknown, or the package or GPU is
    missing."""
    if choice is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig
    from transformers.quantizers.auto import AutoQuantizationConfig

    if choice in ("int8", "int4"):
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ModelError(f"describer.quantization: {choice} needs bitsandbytes; run `pip install bitsandbytes`")
        if not torch.cuda.is_available():
            raise ModelError(f"describer.quantization: {choice} needs a GPU, and there is none; leave it out")
        if choice == "int8":
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, resolve_dtype("auto"))
        )
    try:
        return AutoQuantizationConfig.from_dict(json.loads(choice))
    except Exception as error:  # each method is a class of transformers with exceptions of its own
        raise ModelError(
            f"describer.quantization: found {choice!r}, expected int8, int4, or a quantization_config of "
            f"transformers as JSON: {error}"
        ) from error


def _require_video_chat(model: str, processor: Any) -> None:
    if getattr(processor, "video_processor", None) is None:
        raise ModelError(f"describer.model: {model} takes no videos")
    if getattr(processor, "chat_template", None) is None:
        raise ModelError(
            f"describer.model: {model} has no chat template, so a video and a question cannot be put to it; "
            "choose a video chat model (VideoLLaMA3, Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision, SmolVLM2, InternVL ...)"
        )
    if hasattr(processor.video_processor, "cap_pixels_per_frame"):
        # The default will change in transformers, and a budget that depends on the number of frames is not wanted.
        processor.video_processor.cap_pixels_per_frame = False


def _drop_sampling_settings(model: Any) -> None:
    from transformers import GenerationConfig

    original = model.generation_config
    model.generation_config = GenerationConfig(**{name: getattr(original, name, None) for name in _KEPT})


def _why(model: str, commit: dict[str, str]) -> str:
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(model, **commit)
    except Exception:  # the reason is in the error already
        return ""
    if "auto_map" not in config:
        return ""
    return (
        "\nIt wants to run code of its own repository, which is never done: choose a model that transformers has "
        "itself, or import descriptions that were made elsewhere (docs/mllms.md)"
    )
