"""Forms of CO2-Net, DELU and DDG-Net as their public code has them, defects included; a host calls them if `official`.

Each function says what it does differently and why the corrected form, which stands in the host, does not. The
defects belong to the published weights and figures: with them a host repeats its public code term by term
(`make bench-parity`). Axes: b videos, t snippets, d features, k = classes + 1.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from training.nn.layers import Dropout


class LogitDropout(Dropout):
    """Dropout of the logit of an attention.

    A dropped logit is 0 and its attention exactly 0.5: in training that is half of all attentions, whatever the
    snippet, and chance decides which of DDG-Net's snippets are action. The corrected form has no dropout there.
    """


def product_scores(cas: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"]) -> Float[Tensor, "b t k"]:
    """A S, which video scores are read off at test time.

    The losses train A (S - m) + m, with m the lowest score of the snippet (`nn.losses.suppress`). The plain product
    reverses the order of negative scores: a lower attention raises them. The corrected form reads what was trained.
    """
    return attention.unsqueeze(-1) * cas


def average_with_zeros(x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"], *, kernel: int) -> Float[Tensor, "b t d"]:
    """Running mean over an odd number of snippets, stride 1, that counts zeros beyond both ends of a video.

    Scores and attentions sag at both ends. `nn.layers.average_pool` divides by the number of neighbours that exist.
    """
    if kernel == 1:
        return x
    kept = mask.unsqueeze(-1).to(x.dtype)
    return F.avg_pool1d((x * kept).transpose(1, 2), kernel, 1, kernel // 2).transpose(1, 2) * kept


def argsort_as_rank(uncertainty: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Int[Tensor, "b t"]:
    """The argsort of the uncertainty, used as if it were the rank: place i gets the place of the snippet of rank i.

    DELU's curriculum has the same weights with either, but here on snippets that their uncertainty does not choose.
    `hosts.evidential.uncertainty_rank` is the argsort of this. Padding comes last.
    """
    return uncertainty.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)
