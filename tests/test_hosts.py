"""Hosts: parity with the public code, indifference to padding, and no parameter without a gradient."""

from pathlib import Path

import golden_inputs
import numpy as np
import pytest
import torch

from training.data import Targets
from training.errors import TrainingError
from training.hosts.co2net import Co2Net, Co2NetRecipe
from training.hosts.host import Host, HostOutput
from training.hosts.plain import PlainHost, PlainRecipe
from training.layers import Dropout, SnippetConv
from training.losses import guide_loss, mil_loss, norm_loss, suppress

GOLDENS = Path(__file__).parent / "goldens"
STREAMS = {"rgb": 6, "flow": 4}
NAMES = {
    "first.local": "vAttn.bit_wise_attn.0",
    "first.channel": "vAttn.channel_conv.0",
    "first.attention.0": "vAttn.attention.0",
    "first.attention.1": "vAttn.attention.3",
    "first.attention.2": "vAttn.attention.5",
    "second.local": "fAttn.bit_wise_attn.0",
    "second.channel": "fAttn.channel_conv.0",
    "second.attention.0": "fAttn.attention.0",
    "second.attention.1": "fAttn.attention.3",
    "second.attention.2": "fAttn.attention.5",
    "fusion": "fusion.0",
    "classifier.0": "classifier.1",
    "classifier.1": "classifier.4",
}
"""Our convolutions, and what the public code calls them."""
LOSSES = {
    "mil": "loss_mil_orig",
    "mil_suppressed": "loss_mil_supp",
    "pair": "loss_supp_contrastive",
    "mutual": "mutual_loss",
    "norm": "norm_loss",
    "guide": "guide_loss",
}


def build(kind: str, *, dropout: float = 0.5, **kwargs) -> Host:
    """A small host on features 10 wide, three classes."""
    torch.manual_seed(0)
    if kind == "plain":
        return PlainHost(PlainRecipe(width=8, dropout=dropout, **kwargs), width=10, num_classes=3)
    recipe = Co2NetRecipe(dropout=dropout, attention_dropout=dropout, **kwargs)
    return Co2Net(recipe, streams=STREAMS, num_classes=3)


def targets(mask: torch.Tensor) -> Targets:
    """Rows 0 and 1 are a pair."""
    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]])[: len(mask)]
    pairs = torch.tensor([[0, 1]]) if len(mask) > 1 else torch.zeros(0, 2, dtype=torch.int64)
    return Targets(labels, mask, pairs)


def convolution(host: Host, name: str) -> SnippetConv:
    """One of the host's convolutions."""
    found = host.get_submodule(name)
    assert isinstance(found, SnippetConv)
    return found


def of_reference(recipe: Co2NetRecipe, classes: int) -> Co2Net:
    """CO2-Net with the weights that the figures were made with."""
    host = Co2Net(recipe, streams={"rgb": 1024, "flow": 1024}, num_classes=classes)
    for ours, theirs in NAMES.items():
        kernel, linear = convolution(host, ours).kernel, convolution(host, ours).linear
        # on the channel descriptor, an input of length 1, only the centre of the public code's three taps matters
        taps = 3 if "channel" in ours else kernel
        shape = (linear.out_features, linear.in_features // kernel, taps)
        values = golden_inputs.weight(f"{theirs}.weight", shape)[:, :, (taps - kernel) // 2 :][:, :, :kernel]
        linear.weight.data = torch.from_numpy(values.transpose(0, 2, 1).reshape(len(values), -1).copy())
        linear.bias.data = torch.from_numpy(golden_inputs.weight(f"{theirs}.bias", (linear.out_features,)))
    return host.eval()


def agree(found: torch.Tensor, expected: np.ndarray) -> None:
    """Equal within 1e-5 of the largest figure."""
    assert np.abs(found.detach().numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("file", "classes", "recipe"),
    [
        ("co2net", 20, Co2NetRecipe(official=True)),
        ("co2net_activitynet", 100, Co2NetRecipe(official=True, smoothing=13, mil_ratio=5)),
    ],
)
def test_co2net_equals_the_public_code(file: str, classes: int, recipe: Co2NetRecipe):
    """Outputs, losses and gradient norms of the reference implementation, on its own weights and on fixed outputs."""
    golden = np.load(GOLDENS / f"{file}.npz")
    tag = {"co2net": "co2", "co2net_activitynet": "ant_co2"}[file]
    host = of_reference(recipe, classes)
    mask = torch.ones(6, 64, dtype=torch.bool)
    truth = Targets(torch.from_numpy(golden_inputs.labels(classes)), mask, torch.tensor([[0, 1], [2, 3], [4, 5]]))
    output = host(torch.from_numpy(golden_inputs.features(f"{tag}-x")), mask)
    agree(output.cas[:2, ::2], golden["out/cas"])
    agree(output.embedding.norm(dim=-1), golden["out/feat_norm"])
    for found, name in zip((output.attention, *output.streams), ("attn", "v_atn", "f_atn"), strict=True):
        agree(found, golden[f"out/{name}"])
    terms = host.loss(output, truth, step=0, total_steps=1)
    for ours, theirs in LOSSES.items():
        assert terms[ours].item() == pytest.approx(float(golden[f"loss/{theirs}"]), rel=1e-5), ours
    torch.stack(list(terms.values())).sum().backward()
    for ours, theirs in NAMES.items():
        for name, parameter in convolution(host, ours).linear.named_parameters():
            assert parameter.grad is not None
            norm = float(golden[f"gradnorm/{theirs}.{name}"])
            assert parameter.grad.double().norm().item() == pytest.approx(norm, rel=1e-4), f"{ours}.{name}"
    fixed = {n: torch.from_numpy(v).requires_grad_() for n, v in golden_inputs.outputs(tag, classes).items()}
    output = HostOutput(fixed["feat"], fixed["cas"], fixed["attn"], (fixed["v_atn"], fixed["f_atn"]))
    terms = host.loss(output, truth, step=1234, total_steps=20_000)
    for ours, theirs in LOSSES.items():
        assert terms[ours].item() == pytest.approx(float(golden[f"fx_loss_itr1234/{theirs}"]), rel=1e-5), ours
    torch.stack(list(terms.values())).sum().backward()
    for name, tensor in fixed.items():
        assert tensor.grad is not None
        norm = float(golden[f"fx_gradnorm/{name}"])
        assert tensor.grad.double().norm().item() == pytest.approx(norm, rel=1e-4), name


@pytest.mark.parametrize(("kind", "options"), [("plain", {}), ("co2net", {}), ("co2net", {"smoothing": 3})])
def test_padding_changes_nothing(kind: str, options: dict[str, int]):
    """A padded batch gives each video the numbers, and the batch the mean loss, that the videos have alone."""
    host = build(kind, **options).eval()
    lengths = (9, 4, 15)
    features = torch.randn(3, 15, 10)
    mask = torch.arange(15) < torch.tensor(lengths)[:, None]
    output = host(features, mask)
    assert not output.cas[~mask].any()
    assert not output.attention[~mask].any()
    alone = []
    for row, length in enumerate(lengths):
        own_mask = torch.ones(1, length, dtype=torch.bool)
        own = host(features[row : row + 1, :length], own_mask)
        for name in ("embedding", "cas", "attention"):
            assert torch.allclose(getattr(output, name)[row, :length], getattr(own, name)[0], atol=1e-5), name
        truth = Targets(targets(mask).labels[row : row + 1], own_mask, torch.zeros(0, 2, dtype=torch.int64))
        alone.append(host.loss(own, truth, step=0, total_steps=1))
    together = host.loss(output, targets(mask), step=0, total_steps=1)
    for name in together.keys() - {"pair"}:
        assert together[name].item() == pytest.approx(float(np.mean([a[name].item() for a in alone])), rel=1e-4), name


def test_padding_does_not_touch_the_pair_loss():
    """More padding, the same loss."""
    host = build("co2net").eval()
    features, mask = torch.randn(2, 9, 10), torch.arange(9) < torch.tensor([9, 6])[:, None]
    wider = torch.cat((features, torch.randn(2, 4, 10)), 1), torch.nn.functional.pad(mask, (0, 4))
    first = host.loss(host(features, mask), targets(mask), step=0, total_steps=1)["pair"]
    second = host.loss(host(*wider), targets(wider[1]), step=0, total_steps=1)["pair"]
    assert first.item() > 0
    assert first.item() == pytest.approx(second.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["plain", "co2net"])
def test_every_parameter_is_trained(kind: str):
    """The losses reach each parameter with a gradient that is not zero."""
    host = build(kind, dropout=0.0)
    mask = torch.arange(15) < torch.tensor([9, 12, 15])[:, None]
    terms = host.loss(host(torch.randn(3, 15, 10), mask), targets(mask), step=0, total_steps=1)
    torch.stack(list(terms.values())).sum().backward()
    untrained = [name for name, p in host.named_parameters() if p.grad is None or not p.grad.any()]
    assert not untrained


def test_plain_terms_restated():
    """MIL on S with the background present, on suppressed S with it absent, then sparsity and guide."""
    host = build("plain", norm=1.0, guide=1.0, mil_ratio=5).eval()
    mask = torch.arange(15) < torch.tensor([9, 12, 15])[:, None]
    output, truth = host(torch.randn(3, 15, 10), mask), targets(mask)
    terms = host.loss(output, truth, step=0, total_steps=1)
    expected = {
        "mil": mil_loss(output.cas, mask, truth.labels, background=1, ratio=5),
        "mil_suppressed": mil_loss(suppress(output.cas, output.attention), mask, truth.labels, background=0, ratio=5),
        "norm": norm_loss([output.attention], mask),
        "guide": guide_loss(output.cas, [output.attention], mask),
    }
    assert {name: t.item() for name, t in terms.items()} == pytest.approx({n: t.item() for n, t in expected.items()})


@pytest.mark.parametrize(
    ("kind", "weights"), [("plain", ("norm", "guide")), ("co2net", ("norm", "guide", "pair", "mutual"))]
)
def test_weights_scale_their_terms(kind: str, weights: tuple[str, ...]):
    """Doubling a weight doubles its own term and no other."""
    mask = torch.arange(15) < torch.tensor([9, 12, 15])[:, None]
    features = torch.randn(3, 15, 10)
    host = build(kind, **dict.fromkeys(weights, 1.0)).eval()
    base = host.loss(host(features, mask), targets(mask), step=0, total_steps=1)
    for changed in weights:
        other = build(kind, **dict.fromkeys(weights, 1.0) | {changed: 2.0}).eval()
        terms = other.loss(other(features, mask), targets(mask), step=0, total_steps=1)
        for name, value in terms.items():
            assert value.item() == pytest.approx((2 if name == changed else 1) * base[name].item(), rel=1e-5), name


def test_only_the_official_form_drops_attention_logits():
    """In training, the public code's attentions are 0.5 where the logit was dropped; the corrected form's are not."""
    features, mask = torch.randn(2, 40, 10), torch.ones(2, 40, dtype=torch.bool)
    for official in (True, False):
        output = build("co2net", official=official).train()(features, mask)
        halves = (output.streams[0] == 0.5).float().mean().item()
        assert (halves > 0.2) == official


def test_suppression_is_the_same_in_training_and_inference():
    """The corrected form localizes on what it trained on; the public code localizes on A S."""
    output = HostOutput(torch.zeros(1, 2, 10), torch.randn(1, 2, 4), torch.rand(1, 2))
    corrected, official = build("co2net"), build("co2net", official=True)
    assert torch.equal(corrected.train().suppressed(output), corrected.eval().suppressed(output))
    assert torch.equal(official.train().suppressed(output), corrected.suppressed(output))
    assert torch.equal(official.eval().suppressed(output), output.attention[..., None] * output.cas)


def test_co2net_needs_two_streams():
    """The message names the file, what it holds, and what else to do."""
    with pytest.raises(TrainingError, match=r"features.json, streams: found .*rgb.*expected two.*host plain"):
        Co2Net(Co2NetRecipe(), streams={"rgb": 10}, num_classes=3)


def test_dropout():
    """In training a share of the values is zeroed and the mean stays; in inference nothing happens."""
    torch.manual_seed(0)
    dropout, x = Dropout(0.7), torch.ones(100, 100)
    found = dropout(x)
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.3])
    assert (found == 0).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert torch.equal(dropout.eval()(x), x)
