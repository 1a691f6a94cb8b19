"""The teacher: a moving average of the model that makes the pseudo segments of the localization head."""

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from training.batches.data import WtalData
from training.hosts.host import HostOutput, first_step
from training.model.localization_head import HeadRecipe
from training.model.mllm4wtal import Mllm4Wtal, ModelRecipe
from training.model.pseudo_labels import PseudoBatch, PseudoLabelRecipe, PseudoSegments, pseudo_segments

_log = logging.getLogger(__name__)

TOO_LONG = 0.05
"""Share of the pseudo segments that may be longer than the head's pyramid is made for, before a warning."""


def copy_for_teaching(model: Mllm4Wtal) -> Mllm4Wtal:
    """A copy in eval mode whose parameters need no gradients."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: Mllm4Wtal, model: Mllm4Wtal, *, step: int, decay: float) -> None:
    """Move every parameter of `average` towards that of `model`."""
    keep = min(decay, (1 + step) / (10 + step))
    averaged, current = tuple(average.parameters()), tuple(model.parameters())
    torch._foreach_lerp_(averaged, current, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]


def is_due(step: int, recipe: PseudoLabelRecipe, *, total_steps: int) -> bool:
    """Whether new pseudo segments are made before `step`."""
    since = step - first_step(recipe.warmup, total_steps)
    return since >= 0 and since % max(1, first_step(recipe.refresh, total_steps)) == 0


@torch.no_grad()
def make_pseudo_segments(teacher: Mllm4Wtal, data: WtalData, *, device: torch.device) -> dict[str, PseudoSegments]:
    """Pseudo segments of every training video at full length, in the video's own snippets.

    `head.pseudo_labels` of the teacher's recipe says which T-CAMs and attentions they are made from, and how.
    """
    recipe = teacher.recipe.head.pseudo_labels
    if teacher.ksm is not None:
        teacher.store_queries(data.query_pool().to(device))
    pseudo: dict[str, PseudoSegments] = {}
    for videos in data.whole(recipe.batch_snippets):
        batch = videos.to(device)
        features, mask = batch.features, batch.targets.mask
        output = teacher.host(features, mask).float()
        cas, _ = teacher.fused(output, mask, share=_share_of_ksm(teacher.recipe))
        attention = voting_attention(teacher, output, features, mask)
        curves = torch.cat([cas, attention.unsqueeze(-1)], dim=-1).cpu()  # one copy per batch
        lengths = videos.targets.mask.sum(1).tolist()
        for place, (video_id, length) in enumerate(zip(videos.video_ids, lengths, strict=True)):
            curve, labels = curves[place, :length], videos.targets.labels[place]
            pseudo[video_id] = pseudo_segments(curve[:, :-1], curve[:, -1], labels, recipe)
    return pseudo


def warn_of_long_segments(pseudo: Mapping[str, PseudoSegments], recipe: HeadRecipe) -> None:
    """Log a warning if many pseudo segments are too long for the head's pyramid, with the levels that would do."""
    lengths = torch.cat([torch.zeros(0), *(one.end - one.start for one in pseudo.values())])
    too_long = int((lengths > recipe.longest).sum())
    if too_long > TOO_LONG * len(lengths):
        levels = math.ceil(math.log2(lengths.quantile(1 - TOO_LONG).item() / recipe.reach))
        _log.warning(
            "model.head.levels: %d of %d pseudo segments are longer than the %g snippets that %d levels are made for, "
            "so their bounds are learned badly; use %d",
            too_long, len(lengths), recipe.longest, recipe.levels, levels,
        )  # fmt: skip


def _share_of_ksm(recipe: ModelRecipe) -> float:
    """Share of KSM in the T-CAM that pseudo segments are made from."""
    cams = set(recipe.head.pseudo_labels.cams)
    return recipe.fusion if cams == {"host", "ksm"} else float("ksm" in cams)


def voting_attention(
    teacher: Mllm4Wtal, output: HostOutput, features: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t"]:
    """Mean of the attentions that pseudo segments are made from; A_KSM if there is no CSR."""
    votes = teacher.recipe.head.pseudo_labels.attentions
    attentions = [output.attention] if "ksm" in votes else []
    if "csr" in votes and teacher.csr is not None:
        attentions.append(teacher.csr.attention(features, mask))
    return torch.stack(attentions).mean(dim=0)


def pseudo_of_batch(
    pseudo: Mapping[str, PseudoSegments], video_ids: Sequence[str], scale: Float[Tensor, " b"]
) -> PseudoBatch:
    """Pseudo segments of these videos in snippet units of their batch (`Batch.scale`), on the device of `scale`."""
    videos = PseudoBatch.pad([pseudo[video_id] for video_id in video_ids], device=scale.device)
    factor = scale.unsqueeze(1)
    return replace(videos, start=videos.start * factor, end=videos.end * factor)
