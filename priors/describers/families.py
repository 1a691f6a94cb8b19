"""Families of video chat models: the few settings in which they differ; all run through the same code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from priors.pretrained.model_files import ModelError


@dataclass(frozen=True)
class Family:
    """Settings of one `model_type` of transformers."""

    name: str
    pixel_budget: Literal["frame", "video"] | None = None
    """What the processor's `size.longest_edge` limits the pixels of; None if frames have a fixed size."""
    times: Literal["frame", "pair", "spacing"] | None = None
    """How the model is told timestamps: written before each frame, before each pair of frames (their mean), or as the
    mean distance of frames in its positions; None if it gets no timestamps."""


FAMILIES = {
    "video_llama_3": Family("VideoLLaMA3", pixel_budget="video", times="frame"),
    "qwen2_vl": Family("Qwen2-VL", pixel_budget="frame"),
    "qwen2_5_vl": Family("Qwen2.5-VL", pixel_budget="frame", times="spacing"),
    "qwen3_vl": Family("Qwen3-VL", pixel_budget="video", times="pair"),
    "qwen3_vl_moe": Family("Qwen3-VL (mixture of experts)", pixel_budget="video", times="pair"),
    "llava_onevision": Family("LLaVA-OneVision"),
    "llava_next_video": Family("LLaVA-NeXT-Video"),
    "video_llava": Family("Video-LLaVA"),
    "smolvlm": Family("SmolVLM2", times="frame"),
    "internvl": Family("InternVL"),
}
"""The families that are tested. Other video chat models of transformers are run in the same way."""


def family_of(model_type: str) -> Family:
    """The family of a model, or one with default settings."""
    return FAMILIES.get(model_type, Family(model_type))


def frame_size(family: Family, processor: Any, max_pixels: int, frames: int) -> dict[str, int]:
    """The `size` with which the video processor keeps at most `max_pixels` of each of `frames` frames.

    Raises ModelError if frames of this family have a fixed size.
    """
    if family.pixel_budget is None:
        known = ", ".join(one.name for one in FAMILIES.values() if one.pixel_budget)
        raise ModelError(f"describer.max_pixels: frames of {family.name} have a fixed size; it works for {known}")
    longest = max_pixels * (frames if family.pixel_budget == "video" else 1)
    shortest = min(processor.video_processor.size["shortest_edge"], longest)
    return {"shortest_edge": shortest, "longest_edge": longest}
