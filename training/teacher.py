"""The teacher: a moving average of the model that makes the pseudo segments of the localization head."""

import copy
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from cache.recipe import Recipe
from training.data import WtalData
from training.localization_head import PseudoSegments
from training.model import Mllm4Wtal
from training.pseudo_labels import pseudo_segments


class TeacherRecipe(Recipe):
    """The moving average, and when it teaches."""

    decay: float = Field(default=0.999, ge=0, lt=1)
    """Share of the old average that a step keeps; less in the first steps: min(decay, (1 + step) / (10 + step))."""
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Share of loop.steps before the first pseudo segments; the head's loss is off until then."""
    refresh: float = Field(default=0.1, gt=0, le=1)
    """Share of loop.steps from one set of pseudo segments to the next."""
    batch_size: PositiveInt = 16
    """Whole videos at once when pseudo segments are made."""


def copy_for_teaching(model: Mllm4Wtal) -> Mllm4Wtal:
    """A copy in eval mode that asks for no gradients."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: Mllm4Wtal, model: Mllm4Wtal, *, step: int, decay: float) -> None:
    """Move every parameter of `average` towards that of `model`."""
    keep = min(decay, (1 + step) / (10 + step))
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - keep)


def is_due(step: int, recipe: TeacherRecipe, *, total_steps: int) -> bool:
    """Whether new pseudo segments are made before `step`."""
    since = step - int(recipe.warmup * total_steps)
    return since >= 0 and since % max(1, int(recipe.refresh * total_steps)) == 0


@torch.no_grad()
def make_pseudo_segments(
    teacher: Mllm4Wtal, data: WtalData, *, batch_size: int, device: torch.device
) -> dict[str, PseudoSegments]:
    """Pseudo segments of every training video at full length, in the video's own snippets.

    From the fused T-CAM and the mean of A_KSM and A_CSR; from the host's attention alone where there is no CSR.
    """
    if teacher.ksm is not None:
        teacher.store_queries(data.query_pool().to(device))
    lengths = data.lengths()
    order = sorted(range(len(data)), key=lambda row: lengths[row])
    found: dict[str, PseudoSegments] = {}
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        features, mask = (value.to(device) for value in data.full(rows))
        output = teacher.host(features, mask)
        cas, _ = teacher.fused(output, mask)
        attention = output.attention
        if teacher.csr is not None:
            attention = (attention + teacher.csr.attention(features, mask)) / 2
        for place, row in enumerate(rows):
            length, labels = lengths[row], torch.from_numpy(data.labels[row])
            found[data.video_ids[row]] = pseudo_segments(
                cas[place, :length], attention[place, :length], labels, teacher.recipe.pseudo
            )
    return found


def pseudo_of_batch(
    pseudo: Mapping[str, PseudoSegments], video_ids: Sequence[str], scale: Float[Tensor, " b"]
) -> list[PseudoSegments]:
    """Pseudo segments of these videos in the snippets of their batch (`Batch.scale`), on the device of `scale`."""
    chosen = [pseudo[video_id].to(scale.device) for video_id in video_ids]
    return [
        PseudoSegments(video.start * factor, video.end * factor, video.label, video.weight)
        for video, factor in zip(chosen, scale, strict=True)
    ]
