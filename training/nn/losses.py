"""Loss terms that the hosts and the branches share.

Axes: b videos, t snippets, c action classes (a T-CAM has c + 1 columns, the last is background), e embedding, p
pairs. Every term is the mean over videos of a mean over that video's real snippets, so a batch costs the mean of
what its videos would cost alone, however far it is padded. Sources: CO2-Net and its descendants (hosts), W-TALC
(the pair loss).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from training.nn.layers import masked_mean


def suppress(cas: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"]) -> Float[Tensor, "b t k"]:
    """T-CAM with the background suppressed: A (S - m) + m, m the lowest score of the snippet.

    Unlike the plain product A S it keeps the order of negative scores.
    """
    lowest = cas.amin(dim=-1, keepdim=True)
    return attention.unsqueeze(-1) * (cas - lowest) + lowest


def top_count(mask: Bool[Tensor, "b t"], *, ratio: int) -> Int[Tensor, " b"]:
    """How many snippets speak for each video: max(1, t // ratio), t the number of its real ones."""
    return (mask.sum(1) // ratio).clamp(min=1)


def topk_mean(scores: Float[Tensor, "b t k"], mask: Bool[Tensor, "b t"], *, ratio: int) -> Float[Tensor, "b k"]:
    """Mean of the top max(1, t // ratio) scores over each video's own t real snippets, per class."""
    count = top_count(mask, ratio=ratio)
    hidden = scores.masked_fill(~mask.unsqueeze(-1), -torch.inf)
    top = hidden.topk(max(1, scores.shape[1] // ratio), dim=1).values
    kept = torch.arange(top.shape[1], device=top.device) < count.unsqueeze(1)
    return top.masked_fill(~kept.unsqueeze(-1), 0).sum(1) / count.unsqueeze(1)


def top_weights(keys: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"], *, ratio: int) -> Float[Tensor, "b t"]:
    """Weights that average the max(1, t // ratio) snippets of highest key, t the video's own length; 0 elsewhere."""
    count = top_count(mask, ratio=ratio)
    places = keys.detach().masked_fill(~mask, -torch.inf).topk(max(1, mask.shape[1] // ratio), dim=1).indices
    kept = torch.arange(places.shape[1], device=places.device) < count.unsqueeze(1)
    return torch.zeros_like(keys).scatter(1, places, (kept / count.unsqueeze(1)).to(keys.dtype))


def label_shares(labels: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Labels divided by their sum over the classes; a video without labels has no shares."""
    return labels / labels.sum(1, keepdim=True).clamp(min=1)


def cross_entropy(logits: Float[Tensor, "*b k"], targets: Float[Tensor, "*b k"]) -> Float[Tensor, "*b"]:
    """Of the softmax over the last axis, with targets that need not sum to one; not reduced."""
    return -(targets * F.log_softmax(logits, dim=-1)).sum(-1)


def classification_loss(
    logits: Float[Tensor, "b k"], labels: Float[Tensor, "b c"], *, background: float
) -> Float[Tensor, ""]:
    """Cross-entropy of a softmax over c + 1 with multi-hot targets [labels, background] divided by their sum.

    The 1e-4 in the divisor is the public code's; it lets a video without any label cost nothing instead of NaN.
    """
    targets = F.pad(labels, (0, 1), value=background)
    targets = targets / (targets.sum(1, keepdim=True) + 1e-4)
    return cross_entropy(logits, targets).mean()


def mil_loss(
    cas: Float[Tensor, "b t k"],
    mask: Bool[Tensor, "b t"],
    labels: Float[Tensor, "b c"],
    *,
    background: float,
    ratio: int,
) -> Float[Tensor, ""]:
    """Multiple-instance learning: `classification_loss` on the top-k mean over time."""
    return classification_loss(topk_mean(cas, mask, ratio=ratio), labels, background=background)


def pair_loss(
    embedding: Float[Tensor, "b t e"],
    cas: Float[Tensor, "b t k"],
    mask: Bool[Tensor, "b t"],
    labels: Float[Tensor, "b c"],
    pairs: Int[Tensor, "p 2"],
    *,
    margin: float = 0.5,
) -> Float[Tensor, ""]:
    """Co-activity loss (W-TALC): where two videos share a class, the features that its T-CAM attends to agree.

    Per pair and shared class, two hinges on cosine distances: attended against attended, and against the other video's
    unattended features. The mean over all shared classes of all pairs; 0 when there are none.
    """
    real = mask.unsqueeze(-1).to(cas.dtype)
    attended = cas[..., : labels.shape[1]].masked_fill(real == 0, -torch.inf).softmax(dim=1)
    attended = attended[pairs]  # p 2 t c
    features = embedding[pairs]
    others = (mask[pairs].sum(-1) - 1).clamp(min=1)[..., None, None]
    high = torch.einsum("pstc,pste->psce", attended, features)
    low = torch.einsum("pstc,pste->psce", real[pairs] - attended, features) / others

    def distance(first: Tensor, second: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(first, second, dim=-1)

    near = distance(high[:, 0], high[:, 1])
    hinges = [F.relu(near - distance(high[:, i], low[:, 1 - i]) + margin) for i in (0, 1)]
    shared = labels[pairs].prod(dim=1)  # p c
    return (0.5 * (hinges[0] + hinges[1]) * shared).sum() / shared.sum().clamp(min=1)


def attention_mse(
    student: Float[Tensor, "b t"], teacher: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Mean squared difference between two attentions; no gradient reaches `teacher` (psi of eqs 19 and 20)."""
    return masked_mean((student - teacher.detach()) ** 2, mask).mean()


def mutual_loss(
    first: Float[Tensor, "b t"], second: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Each stream's attention learns from the other's, which stands still meanwhile (CO2-Net)."""
    return 0.5 * attention_mse(first, second, mask) + 0.5 * attention_mse(second, first, mask)


def norm_loss(attentions: Sequence[Float[Tensor, "b t"]], mask: Bool[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Sparsity: the mean attention, averaged over the given attentions."""
    return torch.stack([masked_mean(attention, mask).mean() for attention in attentions]).mean()


def guide_loss(
    cas: Float[Tensor, "b t k"], attentions: Sequence[Float[Tensor, "b t"]], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Attention and the T-CAM's background probability sum to one: mean |1 - A - softmax(S)_background|."""
    foreground = 1 - cas.softmax(dim=-1)[..., -1]
    return torch.stack([masked_mean((foreground - a).abs(), mask).mean() for a in attentions]).mean()
