"""Inception-3D: figures of the public implementation, a plain second one, weight files, crops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.parity.golden_inputs import clip, weight
from priors.features.encoder import Encoder
from priors.features.i3d import I3d
from priors.features.network import Network
from priors.features.recipes import EncoderRecipe, FeaturesRecipe, Preprocessing
from priors.features.snippets import Snippets, crop
from priors.pretrained.model_files import ModelError
from tests.support.paths import GOLDENS

CHANNELS = {"rgb": 3, "flow": 2}


@pytest.fixture(scope="module")
def figures() -> dict[str, np.ndarray]:
    """Names, shapes and outputs of the public PyTorch Inception-3D."""
    with np.load(GOLDENS / "i3d.npz") as found:
        return dict(found)


def weights(figures: dict[str, np.ndarray], stream: str) -> dict[str, Tensor]:
    """A state dict under the public names."""
    names, shapes = (figures[f"{stream}/{what}"].tolist() for what in ("names", "shapes"))
    return {
        name: torch.from_numpy(weight(name, tuple(map(int, shape.strip("(,)").split(",")))))
        for name, shape in zip(names, shapes, strict=True)
    }


@pytest.fixture(scope="module")
def files(figures, tmp_path_factory) -> dict[str, Path]:
    """A weight file of each stream."""
    folder = tmp_path_factory.mktemp("weights")
    for stream in CHANNELS:
        torch.save(weights(figures, stream), folder / f"{stream}_imagenet.pt")
    return {stream: folder / f"{stream}_imagenet.pt" for stream in CHANNELS}


@pytest.mark.parametrize(("stream", "frames"), [("rgb", 24), ("flow", 16)])
def test_features_and_scores_are_those_of_the_public_implementation(figures, stream, frames):
    """On the same weights, under the same names."""
    network = I3d(CHANNELS[stream]).eval()
    left = network.load_state_dict(weights(figures, stream), strict=False)
    assert left.unexpected_keys == []
    assert all(name.endswith("num_batches_tracked") for name in left.missing_keys)
    with torch.inference_mode():
        features = network(torch.from_numpy(clip(stream, frames)))
        scores = network.scores(features)
    for name, found in (("features", features), ("logits", scores)):
        expected = figures[f"{stream}/T{frames}/{name}"]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def plain_i3d(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The features (b, 1024, n, 1, 1), from the names of the parameters and the paper's figure 3."""

    def same(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        pads = []
        for length, window, step in zip(x.shape[2:], size, stride, strict=True):
            left_over = length % step or step
            missing = max(window - left_over, 0)
            pads = [missing // 2, missing - missing // 2, *pads]
        return F.pad(x, pads)

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = state[f"{name}.conv3d.weight"]
        y = F.conv3d(same(x, kernel.shape[2:], (stride,) * 3), kernel, stride=stride)
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, shift = (state[f"{name}.bn.{part}"][:, None, None, None] for part in parts)
        return torch.clamp((y - mean) / torch.sqrt(var + 1e-3) * scale + shift, min=0)

    def pool(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        return F.max_pool3d(same(x, size, stride), size, stride)

    x = pool(conv("Conv3d_1a_7x7", x, 2), (1, 3, 3), (1, 2, 2))
    x = pool(conv("Conv3d_2c_3x3", conv("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    for block in ("3b", "3c", None, "4b", "4c", "4d", "4e", "4f", None, "5b", "5c"):
        if block is None:
            x = pool(x, (3, 3, 3), (2, 2, 2)) if x.shape[1] == 480 else pool(x, (2, 2, 2), (2, 2, 2))
            continue
        at = f"Mixed_{block}"
        branches = [conv(f"{at}.b0", x)]
        branches += [conv(f"{at}.b{number}b", conv(f"{at}.b{number}a", x)) for number in (1, 2)]
        x = torch.cat([*branches, conv(f"{at}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))], dim=1)
    return F.avg_pool3d(x, (2, 7, 7), stride=1)


def test_features_are_those_of_a_plain_second_implementation(figures, files):
    """Of a snippet of a number of frames that no stride divides, as the encoder reads them from 0 to 255."""
    pictures = np.random.default_rng(0).integers(0, 256, (9, 224, 224, 3), np.uint8)
    encoder = Encoder(EncoderRecipe(kind="i3d", model=str(files["rgb"])), device="cpu")
    found = encoder.encode([Snippets(pictures, np.arange(9)[None])])
    x = torch.from_numpy(pictures).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.inference_mode():
        expected = plain_i3d(weights(figures, "rgb"), x).mean(dim=(2, 3, 4))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(expected.max()))
    assert encoder.width == found.shape[1] == 1024


def test_flow_is_clipped_at_its_bound(files):
    """At 20 pixels, which become 1."""
    encoder = Encoder(EncoderRecipe(kind="i3d", model=str(files["flow"]), input="flow"), device="cpu")
    flow = np.zeros((1, 1, 2, 3, 2), np.float32)
    flow[..., 0], flow[..., 1] = 35, -5
    normalised = encoder._normalised(torch.from_numpy(flow))
    np.testing.assert_array_equal(normalised[0, 0, :, 0, 0], [1, -0.25])
    assert (encoder.view.shorter_side, encoder.view.side, encoder.view.frames) == (256, 224, None)


def test_weights_of_the_other_stream_are_refused(files):
    """By the channels of their first layer."""
    with pytest.raises(ModelError, match=r"takes 2 channels, expected 3 for input rgb.*swapped"):
        Encoder(EncoderRecipe(kind="i3d", model=str(files["flow"])))


def test_files_that_are_no_weights_are_refused(files, tmp_path):
    """With what is wrong; none of them runs code."""
    recipe = EncoderRecipe(kind="i3d", model=str(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match="no such file"):
        Encoder(recipe)
    torch.save(Path("code"), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        Encoder(recipe)
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(ModelError, match="found a list, expected a state dict"):
        Encoder(recipe)
    state = torch.load(files["rgb"], weights_only=True)
    torch.save({name: value for name, value in state.items() if "Mixed_4c" not in name}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"Mixed_4c.b0.conv3d.weight is missing \(and 29 more\)"):
        Encoder(recipe)
    torch.save({**state, "Mixed_3b.b0.bn.weight": torch.ones(3)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"Mixed_3b.b0.bn.weight has the shape \(3,\), expected \(64,\)"):
        Encoder(recipe)


class _Corner(nn.Module):
    """The first pixel of the first frame, by channel."""

    def forward(self, snippets: Tensor) -> Tensor:
        return snippets[:, 0, :, 0, 0]


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_ten_crops_are_the_mean_of_ten_pictures(monkeypatch, stream):
    """Each crop's first pixel is known; mirrored flow goes the other way."""
    made_for = Preprocessing(frames=None, side=4, shorter_side=6, mean=(0.0,) * 2, spread=(1.0,) * 2)
    monkeypatch.setattr("priors.features.encoder._load", lambda recipe: Network(_Corner(), 2, made_for, "r", "w"))
    picture = np.random.default_rng(0).uniform(0, 9, (1, 6, 9, 2)).astype(np.float32)
    encoder = Encoder(EncoderRecipe(kind="i3d", model="-", input=stream, crops="ten"), device="cpu")
    found = encoder.encode([Snippets(picture, np.zeros((1, 1), int))])
    firsts = [(1, 2), (0, 0), (0, 5), (2, 0), (2, 5)]
    sign = np.array([-1 if stream == "flow" else 1, 1])
    expected = [picture[0, row, column] for row, column in firsts]
    expected += [picture[0, row, column + 3] * sign for row, column in firsts]
    np.testing.assert_allclose(found[0], np.mean(expected, axis=0), rtol=1e-6)
    np.testing.assert_array_equal(crop(picture, 4)[0, 0, 0], picture[0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "i3d", "frames": 8}, "frames: found 8 for kind i3d"),
        ({"kind": "image", "input": "flow"}, "input: found flow for kind image"),
        ({"crops": "ten"}, "crops: found ten for kind transformers"),
    ],
)
def test_fields_that_do_not_fit_a_kind_are_refused(changes, message):
    """With what was expected."""
    with pytest.raises(ValueError, match=message):
        EncoderRecipe(model="m", **changes)


def test_snippets_too_short_for_i3d_are_refused():
    """Nothing would be left after its strides."""
    streams = {"rgb": EncoderRecipe(kind="i3d", model="rgb_imagenet.pt")}
    with pytest.raises(ValueError, match="snippet_frames: found 8, expected at least 9 for kind i3d"):
        FeaturesRecipe(streams=streams, snippet_frames=8, snippet_stride=8)
