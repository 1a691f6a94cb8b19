"""A small pre-norm transformer whose attention can be gated by how much each source position matters.

Axes: b rows, q queries, s sources, w width, h heads.
"""

import math
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from training.nn.layers import Dropout

Gating = Literal["outside", "inside"]


def sinusoids(length: int, width: int, *, device: torch.device | str = "cpu") -> Float[Tensor, "{length} {width}"]:
    """Fixed sine and cosine positions (Vaswani et al., 2017)."""
    half = math.ceil(width / 2)
    rates = torch.exp(torch.arange(half, device=device) * (-math.log(10_000) / half))
    angles = torch.arange(length, device=device).unsqueeze(1) * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)[:, :width]


class Attention(nn.Module):
    """Multi-head attention with a padding mask and, optionally, a gate in [0, 1] on each source position.

    `outside`: weights are softmax(QK^T / sqrt(d)) times the gate, renormalised; computed as softmax(QK^T / sqrt(d)
    + log gate), which is the same. A gate of 0 hides a source. `inside`: softmax(QK^T / sqrt(d) * gate), eqs 14 and
    15 to the letter; a gate of 0 there gives the source an average weight, not none.
    """

    def __init__(self, width: int, *, heads: int, gating: Gating = "outside") -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads: found {heads}, expected a divisor of the width {width}")
        self.heads, self.gating = heads, gating
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b q w"],
        source: Float[Tensor, "b s w"],
        *,
        mask: Bool[Tensor, "b s"],
        gate: Float[Tensor, "b s"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "b q w"]:
        """Attend from x to the sources that `mask` marks; `causal` hides sources after the query (q = s)."""
        query = rearrange(self.query(x), "b q (h d) -> b h q d", h=self.heads)
        key, value = rearrange(self.key_value(source), "b s (two h d) -> two b h s d", two=2, h=self.heads)
        hidden = ~mask[:, None, None, :]
        if causal:
            steps = torch.arange(x.shape[1], device=x.device)
            hidden = hidden | (steps[:, None] < steps[None, :])
        bias = torch.zeros(hidden.shape, dtype=query.dtype, device=x.device)
        if gate is not None and self.gating == "inside":
            key = key * gate[:, None, :, None]
        elif gate is not None:
            bias = bias + (gate + 1e-10).log()[:, None, None, :]
        # a finite floor: a row without any source would otherwise be NaN
        bias = bias.masked_fill(hidden, torch.finfo(query.dtype).min)
        # written out: torch's fused kernels have no gradient for a bias, and its fallback is slower than this on a CPU
        query = query * query.shape[-1] ** -0.5
        weights = (query @ key.transpose(-1, -2) + bias).softmax(dim=-1)
        mixed = weights @ value
        return self.out(rearrange(mixed, "b h q d -> b q (h d)"))


class Block(nn.Module):
    """Self-attention, attention to a second sequence if `cross`, and a feed-forward part."""

    def __init__(
        self, width: int, *, heads: int, dropout: float, gating: Gating = "outside", cross: bool = False
    ) -> None:
        super().__init__()
        self.self_norm, self.self_attention = nn.LayerNorm(width), Attention(width, heads=heads, gating=gating)
        self.cross_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = Attention(width, heads=heads, gating=gating) if cross else None
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b q w"],
        *,
        mask: Bool[Tensor, "b q"],
        gate: Float[Tensor, "b q"] | None = None,
        causal: bool = False,
        source: Float[Tensor, "b s w"] | None = None,
        source_mask: Bool[Tensor, "b s"] | None = None,
        source_gate: Float[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b q w"]:
        """`gate` weighs x as a source of itself, `source_gate` weighs the second sequence."""
        normed = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normed, normed, mask=mask, gate=gate, causal=causal))
        if self.cross_norm is not None and self.cross_attention is not None:
            if source is None or source_mask is None:
                raise ValueError("source: found None, expected the sequence that this block attends to")
            attended = self.cross_attention(self.cross_norm(x), source, mask=source_mask, gate=source_gate)
            x = x + self.dropout(attended)
        return x + self.dropout(self.feed_forward(x))
