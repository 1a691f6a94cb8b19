"""Inception-3D (Carreira and Zisserman, CVPR 2017), with the parameter names of the weight files of its PyTorch port.

Two networks make the usual features: one for RGB (rgb_imagenet.pt), one for optical flow (flow_imagenet.pt), both
trained on Kinetics. Axes: b videos, c channels, t frames, h rows, w columns.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from priors.features.network import Network
from priors.features.recipes import EncoderRecipe, Preprocessing
from priors.pretrained.model_files import ModelError, weights_digest

_SIDE, _SHORTER_SIDE, _WIDTH = 224, 256, 1024
_POOLED = (2, 7, 7)
_INCEPTION: Mapping[str, tuple[int, tuple[int, int, int, int, int, int]]] = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""By block: channels of its input, and of its convolutions b0, b1a, b1b, b2a, b2b, b3b."""


class I3d(nn.Module):
    """The network up to `Mixed_5c`, and the layer of class scores."""

    def __init__(self, channels: int = 3, classes: int = 400) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Convolution(channels, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = _Convolution(64, 64, 1)
        self.Conv3d_2c_3x3 = _Convolution(64, 192, 3)
        for name, (inputs, outputs) in _INCEPTION.items():
            setattr(self, name, _Inception(inputs, outputs))
        self.logits = _Convolution(_WIDTH, classes, 1, plain=True)
        pools = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2),) * 2}
        self._stem_pool = _MaxPool((1, 3, 3), (1, 2, 2))
        self._pools = {name: _MaxPool(*shape) for name, shape in pools.items()}

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b 1024 n 1 1"]:
        """The features before the last layer: one vector for every 8 frames, but the last. Clips are in [-1, 1]."""
        x = self._stem_pool(self.Conv3d_1a_7x7(clips))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in _INCEPTION:
            if name in self._pools:
                x = self._pools[name](x)
            x = getattr(self, name)(x)
        return F.avg_pool3d(x, _POOLED, stride=1)

    def scores(self, features: Float[Tensor, "b 1024 n 1 1"]) -> Float[Tensor, "b classes n"]:
        """Class scores before the softmax."""
        return rearrange(self.logits(features), "b k n 1 1 -> b k n")


class I3dFeatures(nn.Module):
    """The mean of a snippet's features, as an encoder."""

    def __init__(self, network: I3d) -> None:
        super().__init__()
        self.network = network

    def forward(self, snippets: Float[Tensor, "s t c h w"]) -> Float[Tensor, "s 1024"]:
        """Features of snippets."""
        return reduce(self.network(rearrange(snippets, "s t c h w -> s c t h w")), "s d n 1 1 -> s d", "mean")


class _Convolution(nn.Module):
    """Convolution with the padding of TensorFlow's SAME, batch norm and ReLU; `plain`: with a bias and neither."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, size, stride=stride, bias=plain)
        self.bn = None if plain else nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t2 h2 w2"]:
        x = self.conv3d(_padded(x, self.conv3d.kernel_size, self.conv3d.stride))
        return x if self.bn is None else F.relu(self.bn(x))


class _MaxPool(nn.Module):
    """Maximum with the padding of SAME, by zeros: what it pools is never negative."""

    def __init__(self, size: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t2 h2 w2"]:
        return F.max_pool3d(_padded(x, self.size, self.stride), self.size, self.stride)


class _Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3 twice, of which one is narrow; pooling and 1x1."""

    def __init__(self, inputs: int, outputs: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3b = outputs
        self.b0 = _Convolution(inputs, b0, 1)
        self.b1a, self.b1b = _Convolution(inputs, b1a, 1), _Convolution(b1a, b1b, 3)
        self.b2a, self.b2b = _Convolution(inputs, b2a, 1), _Convolution(b2a, b2b, 3)
        self.b3a, self.b3b = _MaxPool((3, 3, 3), (1, 1, 1)), _Convolution(inputs, b3b, 1)

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c2 t h w"]:
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


def _padded(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around the last three axes, so that ceil(length / stride) positions fit; the odd one comes at the end."""
    pads: list[int] = []
    for length, window, step in zip(x.shape[:1:-1], size[::-1], stride[::-1], strict=True):
        total = max(0, (-(-length // step) - 1) * step + window - length)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


def load_i3d(recipe: EncoderRecipe) -> Network:
    """The network of a weight file. Raises ModelError if the file is missing, or is not one of them."""
    path = Path(recipe.model)
    if not path.is_file():
        raise ModelError(
            f"streams.*.model: {recipe.model}: no such file; kind i3d reads a weight file of the PyTorch port of "
            "Inception-3D, such as rgb_imagenet.pt for input rgb and flow_imagenet.pt for input flow"
        )
    weights = _read(path)
    channels = {"rgb": 3, "flow": 2}[recipe.input]
    first = weights["Conv3d_1a_7x7.conv3d.weight"].shape[1]
    if first != channels:
        raise ModelError(
            f"streams.*.model: {path}: takes {first} channels, expected {channels} for input {recipe.input}; "
            "the weights of the two streams seem to be swapped"
        )
    network = I3d(channels, classes=len(weights["logits.conv3d.weight"]))
    network.load_state_dict(weights, strict=False)  # beside the counters, all was compared
    mean, spread = (127.5, 127.5) if recipe.input == "rgb" else (0.0, recipe.flow_bound)
    made_for = Preprocessing(
        frames=None, side=_SIDE, shorter_side=_SHORTER_SIDE, mean=(mean,) * channels, spread=(spread,) * channels
    )
    identity = weights_digest([path])
    return Network(I3dFeatures(network), _WIDTH, made_for, identity, identity)


def _read(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of a weight file. Raises ModelError saying how they differ from I3D's."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"streams.*.model: {path}: cannot be read as weights: {str(error)[:300]}") from error
    if not isinstance(found, Mapping):
        raise ModelError(f"streams.*.model: {path}: found a {type(found).__name__}, expected a state dict of I3D")
    weights = {str(name).removeprefix("module."): value for name, value in found.items()}
    expected = {name: tuple(value.shape) for name, value in I3d().state_dict().items() if not _is_counter(name)}
    names = {name for name in weights if not _is_counter(name)}
    wrong = [f"{name} is missing" for name in expected if name not in names]
    wrong += [f"{name} is none of I3D's" for name in sorted(names - expected.keys())]
    wrong += [
        f"{name} has the shape {tuple(weights[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in names and not _same_shape(name, tuple(weights[name].shape), shape)
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ModelError(f"streams.*.model: {path}: is no weight file of Inception-3D: {wrong[0]}{more}")
    return weights


def _is_counter(name: str) -> bool:
    """Of batches, which files of older versions of PyTorch lack."""
    return name.endswith("num_batches_tracked")


def _same_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whatever the number of classes, and of channels of the input."""
    if name.startswith("logits"):
        return found[1:] == expected[1:]
    if name == "Conv3d_1a_7x7.conv3d.weight":
        return len(found) == 5 and (found[0], *found[2:]) == (expected[0], *expected[2:])
    return found == expected
