"""What accelerators ask for: nothing float64, no waiting inside a step, ways of their own, and room."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import training.model.mllm4wtal
from tests.support.data.toy_data import toy_training_data
from tests.support.models.dispatch_modes import Recorded, WithoutFloat64, WithoutWaiting
from tests.support.models.small_hosts import KINDS
from tests.support.models.steps import inputs, model_of, no_cuda, terms_of
from training.batches.data import WtalData
from training.loop.teacher import copy_for_teaching, make_pseudo_segments, pseudo_of_batch
from training.model.localization_head import decode
from training.nn.layers import Dropout, SnippetConv


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> WtalData:
    """The toy data."""
    return toy_training_data(tmp_path_factory.mktemp("features"))


@pytest.mark.parametrize("kernel", [3, 5])
def test_both_ways_of_a_convolution_agree(kernel: int):
    """The product of matrices and the convolution: outputs, and gradients of features, weights and biases."""
    torch.manual_seed(0)
    layer, found = SnippetConv(6, 4, kernel=kernel), []
    torch.nn.init.normal_(layer.linear.bias)
    for way in (layer.unfolded, layer.convolved):
        features = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
        output = way(features)
        output.square().sum().backward()
        found.append([output, features.grad, *(p.grad for p in layer.parameters())])
        layer.zero_grad()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_dropout_and_torchs_own_do_the_same():
    """What other devices run: torch's dropout has the same share of zeros and the same factor."""
    torch.manual_seed(0)
    x = torch.ones(20_000)
    ours, theirs = Dropout(0.7)(x), F.dropout(x, 0.7)
    assert ours.unique().tolist() == pytest.approx(theirs.unique().tolist())
    assert (ours == 0).float().mean().item() == pytest.approx((theirs == 0).float().mean().item(), abs=0.02)


@pytest.mark.parametrize(("device", "torchs_own"), [("cpu", False), ("meta", True)])
def test_which_way_a_device_takes(device: str, torchs_own: bool):
    """The CPU's own way is the CPU's alone."""
    with torch.device(device):
        layers, features = torch.nn.ModuleList([SnippetConv(6, 4), Dropout(0.5)]), torch.zeros(2, 9, 6)
    convolution, dropout = layers
    with Recorded() as seen:
        output = dropout(convolution(features, torch.ones(2, 9, dtype=torch.bool, device=device)))
    assert output.shape == (2, 9, 4)
    assert ("convolution" in seen.names) == ("bernoulli_" in seen.names) == torchs_own


@pytest.mark.parametrize("kind", ["plain", "gaufuse"])
def test_no_device_needs_float64(data: WtalData, kind: str):
    """Pseudo segments, frame labels, a step with them, and decoding."""
    model = model_of(data, kind)
    with pytest.raises(TypeError, match="float64"), WithoutFloat64():
        torch.ones(2).double()
    with WithoutFloat64():
        batch, _ = inputs(data, model)
        found = make_pseudo_segments(copy_for_teaching(model), data, device=torch.device("cpu"))
        pseudo = pseudo_of_batch(found, batch.video_ids, batch.scale)
        torch.stack(list(terms_of(model, batch, pseudo, "joint", nullcontext()).values())).sum().backward()
        output = model.eval().localize_forward(batch.features, batch.targets.mask)
        assert output.head is not None
        candidates = decode(output.head, 0, min_score=0.0, top=5)
    assert candidates.segments.dtype == np.float64
    assert sum(len(video.start) for video in found.values()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_never_waits_for_its_device(data: WtalData, kind: str):
    """Forward and backward pass queue their work without a look at its results."""
    model = model_of(data, kind)
    batch, pseudo = inputs(data, model)
    with pytest.raises(RuntimeError, match="waits"), WithoutWaiting():
        torch.ones(2).nonzero()
    with WithoutWaiting():
        terms = terms_of(model, batch, pseudo, "joint", nullcontext())
        torch.stack(list(terms.values())).sum().backward()


def test_the_pool_is_embedded_in_chunks(data: WtalData, monkeypatch: pytest.MonkeyPatch):
    """No more texts at once than a chunk has, and the same class queries as from all at once."""
    model, pool = model_of(data, "plain"), data.query_pool()
    assert model.ksm is not None
    found, looked_up = [], []
    vectors = model._vectors
    monkeypatch.setattr(model, "_vectors", lambda ids: looked_up.append(len(ids)) or vectors(ids))
    for chunk in (len(pool.classes), 4):
        monkeypatch.setattr(training.model.mllm4wtal, "POOL_CHUNK", chunk)
        model.store_queries(pool)
        found.append(model.ksm.class_queries.clone())
    assert looked_up[0] == len(pool.classes) > 8
    assert set(looked_up[1:]) <= {1, 2, 3, 4}
    torch.testing.assert_close(found[0], found[1])


@no_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_both_devices_localize_alike(data: WtalData, kind: str):
    """T-CAM, attention, video scores and the head's figures on a GPU are those of the CPU, to float32's roundings."""
    videos, found = next(data.whole(3)), []
    for device in ("cpu", "cuda"):
        model = model_of(data, kind, device).eval()
        model.store_queries(data.query_pool().to(device))
        batch = videos.to(device)
        with torch.no_grad():
            output = model.localize_forward(batch.features, batch.targets.mask)
        assert output.head is not None
        figures = (output.cas, output.attention, output.video_scores, output.head.logits, output.head.offsets)
        found.append([value.cpu() for value in figures])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@no_cuda
def test_pseudo_segments_are_the_same_on_both_devices(data: WtalData):
    """Bounds to a hundredth of a snippet, of the same weights."""
    found = []
    for device in ("cpu", "cuda"):
        teacher = copy_for_teaching(model_of(data, "plain", device))
        found.append(make_pseudo_segments(teacher, data, device=torch.device(device)))
    for video_id, one in found[0].items():
        assert torch.allclose(one.start, found[1][video_id].start, atol=1e-2)
        assert torch.equal(one.label, found[1][video_id].label)
