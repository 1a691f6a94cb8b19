"""Layers over snippets that never look at padding.

Axes: b videos, t snippets, d features in, o features out, k neighbours.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout as torch has it; on a CPU from uniform draws, which cost a quarter of torch's own Bernoulli draws there.

    The draws are float32 whatever the values are: bf16 has 256 uniform numbers, and rate 0.1 would keep 89.8 %.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """In training zero a share `rate` of x and scale up the rest; else do nothing."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.rate)
        kept = torch.rand_like(x, dtype=torch.float32) >= self.rate
        return (x * (kept.float() / (1 - self.rate))).to(x.dtype)


class SnippetConv(nn.Module):
    """Convolution over time whose output at a real snippet does not depend on how far the batch was padded.

    On a CPU one matrix product over unfolded neighbours: as fast there as a convolution in the (b, channels, t) layout
    and three times faster than one between transposes. Elsewhere a convolution, which does not hold every neighbour's
    features again. `linear.weight[:, i * d:(i + 1) * d]` is the tap of neighbour i - kernel // 2. Weights start
    Kaiming-uniform and biases at zero, as in CO2-Net.
    """

    def __init__(self, width_in: int, width_out: int, *, kernel: int = 3) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel: found {kernel}, expected an odd number, so that an output has a centre")
        self.kernel = kernel
        self.linear = nn.Linear(kernel * width_in, width_out)
        nn.init.kaiming_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t o"]:
        """Convolve with zeros beyond both ends of each video."""
        if self.kernel == 1:
            return self.linear(x)
        real = x * mask.unsqueeze(-1)
        return self.unfolded(real) if x.device.type == "cpu" else self.convolved(real)

    def unfolded(self, real: Float[Tensor, "b t d"]) -> Float[Tensor, "b t o"]:
        """As a matrix product; padding is zero."""
        snippets, reach = real.shape[1], self.kernel // 2
        padded = F.pad(real, (0, 0, reach, reach))
        return self.linear(torch.cat([padded[:, i : i + snippets] for i in range(self.kernel)], dim=-1))

    def convolved(self, real: Float[Tensor, "b t d"]) -> Float[Tensor, "b t o"]:
        """As a convolution; padding is zero."""
        taps = rearrange(self.linear.weight, "o (k d) -> o d k", k=self.kernel)
        return F.conv1d(real.transpose(1, 2), taps, self.linear.bias, padding=self.kernel // 2).transpose(1, 2)


def masked_mean(values: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """Mean over the real snippets of each video; 0 for a row that has none."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def average_pool(x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"], *, kernel: int) -> Float[Tensor, "b t d"]:
    """Running mean over `kernel` snippets, an odd number, stride 1; over the neighbours that exist.

    The ActivityNet variant of CO2-Net smooths its outputs so.
    """
    if kernel == 1:
        return x
    kept = mask.unsqueeze(-1).to(x.dtype)
    total = F.avg_pool1d((x * kept).transpose(1, 2), kernel, 1, kernel // 2).transpose(1, 2)
    count = F.avg_pool1d(kept.transpose(1, 2), kernel, 1, kernel // 2).transpose(1, 2)
    return total / count.clamp(min=1 / kernel) * kept
