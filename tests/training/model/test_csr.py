"""Complete Semantic Reconstruction, and the gated attention that it is made of."""

import pytest
import torch

from training.batches.data import Sentences
from training.model.csr import CompleteSemanticReconstruction, CsrRecipe, word_nll
from training.nn.transformer import Attention, sinusoids

VOCABULARY = 11


def build(**options) -> CompleteSemanticReconstruction:
    """Features 4 wide, word vectors 5 wide."""
    torch.manual_seed(0)
    small = {"width": 8, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0, "attention_dropout": 0}
    recipe = CsrRecipe.model_validate(small | options)
    return CompleteSemanticReconstruction(recipe, feature_width=4, word_width=5, vocabulary=VOCABULARY)


class Inputs:
    """Two videos of 9 and 6 snippets with sentences of 6 and 4 words."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.features = torch.randn(2, 9, 4, generator=generator)
        self.mask = torch.arange(9) < torch.tensor([9, 6])[:, None]
        word_mask = torch.arange(6) < torch.tensor([6, 4])[:, None]
        ids = torch.randint(3, VOCABULARY, (2, 6), generator=generator) * word_mask
        masked = torch.zeros(2, 6, dtype=torch.bool)
        masked[0, 1] = masked[0, 3] = masked[1, 2] = True
        self.sentences = Sentences(ids, word_mask, masked)
        self.words = torch.randn(2, 6, 5, generator=generator)

    def logits(self, csr: CompleteSemanticReconstruction, gate: torch.Tensor | None = None, **changed) -> torch.Tensor:
        """Logits of all words; `changed` replaces features, mask, words or masked."""
        word_mask = changed.get("word_mask", self.sentences.mask)
        return csr.reconstruct(
            changed.get("features", self.features),
            changed.get("mask", self.mask),
            gate,
            changed.get("words", self.words),
            word_mask,
            changed.get("masked", self.sentences.masked),
        )


@pytest.mark.parametrize("decoder", ["causal", "bidirectional"])
def test_masked_words_never_reach_the_decoder(decoder: str):
    """The vector behind a mask changes no logit; unmasking it, or changing a word that shows, does."""
    csr, inputs = build(decoder=decoder).eval(), Inputs()
    expected = inputs.logits(csr)
    hidden, shown = inputs.words.clone(), inputs.words.clone()
    hidden[0, 1] += 5
    shown[0, 0] += 5
    assert torch.equal(inputs.logits(csr, words=hidden), expected)
    assert not torch.allclose(inputs.logits(csr, words=shown), expected, atol=1e-3)
    unmasked = torch.zeros_like(inputs.sentences.masked)
    assert not torch.allclose(inputs.logits(csr, masked=unmasked), expected, atol=1e-3)


def test_a_causal_decoder_sees_only_earlier_words():
    """Word i moves the logits after i and none before; the bidirectional decoder's all move."""
    inputs = Inputs()
    changed = inputs.words.clone()
    changed[0, 2] += 5
    for decoder, first in (("causal", 3), ("bidirectional", 0)):
        csr = build(decoder=decoder).eval()
        moved = (inputs.logits(csr, words=changed) - inputs.logits(csr)).abs().amax(-1)[0] > 1e-5
        assert moved.tolist() == [i >= first for i in range(6)]


def test_words_are_predicted_from_the_video():
    """Any snippet moves the logits of the first word: the encoder looks both ways."""
    csr, inputs = build().eval(), Inputs()
    for snippet in (0, 4, 8):
        changed = inputs.features.clone()
        changed[0, snippet] += 3
        moved = (inputs.logits(csr, features=changed) - inputs.logits(csr)).abs().amax(-1)
        assert moved[0, 0] > 1e-5
        assert moved[1].max() == 0


def test_gates_hide_snippets_only_outside_the_softmax():
    """A gate of 0 outside makes a snippet as good as absent; inside (eqs 14, 15) it keeps an average weight."""
    inputs = Inputs()
    gate = torch.ones(2, 9)
    gate[0, 5:] = 0
    changed = inputs.features.clone()
    changed[0, 5:] += 3
    outside, inside = build(gating="outside").eval(), build(gating="inside").eval()
    assert torch.allclose(inputs.logits(outside, gate, features=changed), inputs.logits(outside, gate), atol=1e-5)
    assert not torch.allclose(inputs.logits(inside, gate, features=changed), inputs.logits(inside, gate), atol=1e-3)
    absent = inputs.mask.clone()
    absent[0, 5:] = False
    assert torch.allclose(inputs.logits(outside, mask=absent), inputs.logits(outside, gate), atol=1e-5)


@pytest.mark.parametrize("gating", ["outside", "inside"])
def test_gated_attention_restated(gating: str):
    """softmax(QK^T / sqrt d) * gate, renormalised; or softmax(QK^T / sqrt d * gate); head by head, over the mask."""
    torch.manual_seed(0)
    attention = Attention(4, heads=2, gating=gating)  # pyright: ignore[reportArgumentType]
    x, source, gate = torch.randn(1, 3, 4), torch.randn(1, 5, 4), torch.rand(1, 5)
    mask = torch.tensor([[True, True, True, True, False]])
    key, value = attention.key_value(source)[0].split(4, dim=-1)
    query, mixed = attention.query(x)[0], []
    for head in (slice(0, 2), slice(2, 4)):
        scores = query[:, head] @ key[:4, head].T / 2**0.5
        if gating == "inside":
            weights = (scores * gate[0, :4]).softmax(-1)
        else:
            weights = scores.softmax(-1) * gate[0, :4]
            weights = weights / weights.sum(-1, keepdim=True)
        mixed.append(weights @ value[:4, head])
    expected = attention.out(torch.cat(mixed, -1))
    assert torch.allclose(attention(x, source, mask=mask, gate=gate)[0], expected, atol=1e-6)


def test_sinusoids():
    """Sines first, then cosines; position 0 is (0, ..., 1, ...); odd widths work."""
    table = sinusoids(50, 6)
    assert table[0].tolist() == [0, 0, 0, 1, 1, 1]
    assert table[3, 0].item() == pytest.approx(0.14112, abs=1e-5)
    assert len(torch.unique(table, dim=0)) == 50
    assert sinusoids(4, 5).shape == (4, 5)


def test_padding_changes_nothing():
    """Rubbish at padding moves neither attention nor loss, and the batch costs the mean of its videos alone."""
    csr, inputs = build().eval(), Inputs()
    inputs.features[1, 6:] = 99.0
    inputs.words[1, 4:] = 99.0
    attention = csr.attention(inputs.features, inputs.mask)
    assert not attention[1, 6:].any()
    both = csr.loss(inputs.features, inputs.mask, attention, inputs.sentences, inputs.words)["reconstruction"]
    alone = []
    for row, (snippets, words) in enumerate([(9, 6), (6, 4)]):
        features, mask = inputs.features[row : row + 1, :snippets], torch.ones(1, snippets, dtype=torch.bool)
        own = csr.attention(features, mask)
        assert torch.allclose(own[0], attention[row, :snippets], atol=1e-6)
        s = inputs.sentences
        cut = Sentences(*(value[row : row + 1, :words] for value in (s.ids, s.mask, s.masked)))
        alone.append(csr.loss(features, mask, own, cut, inputs.words[row : row + 1, :words])["reconstruction"].item())
    assert both.item() == pytest.approx(sum(alone) / 2, rel=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nll_restated(smoothing: float):
    """Mean over all words, masked or not, of -log P(word); smoothing spreads a share over the vocabulary."""
    inputs = Inputs()
    logits = torch.randn(2, 6, VOCABULARY)
    log_p = logits.log_softmax(-1)
    for row, count in enumerate((6, 4)):
        costs = []
        for i in range(count):
            own = -log_p[row, i, inputs.sentences.ids[row, i]]
            costs.append((1 - smoothing) * own - smoothing * log_p[row, i].mean())
        found = word_nll(logits, inputs.sentences, smoothing=smoothing)[row]
        assert found.item() == pytest.approx(torch.stack(costs).mean().item(), rel=1e-5)


def test_a_video_without_words_costs_nothing():
    """It is left out of the mean, and gives no NaN."""
    csr, inputs = build().eval(), Inputs()
    attention = csr.attention(inputs.features, inputs.mask)
    s = inputs.sentences
    only_first = s.mask & torch.tensor([[True], [False]])
    sentences = Sentences(s.ids * only_first, only_first, s.masked & only_first)
    half = csr.loss(inputs.features, inputs.mask, attention, sentences, inputs.words)["reconstruction"]
    nll = word_nll(inputs.logits(csr, attention), s, smoothing=0)
    assert half.item() == pytest.approx(nll[0].item(), rel=1e-5)


@pytest.mark.parametrize("decoder", ["causal", "bidirectional"])
@pytest.mark.parametrize("gating", ["outside", "inside"])
def test_every_parameter_is_trained(decoder: str, gating: str):
    """The likelihood alone reaches attention, encoder, decoder, mask and start vectors."""
    csr, inputs = build(decoder=decoder, gating=gating), Inputs()
    attention = csr.attention(inputs.features, inputs.mask)
    csr.loss(inputs.features, inputs.mask, attention, inputs.sentences, inputs.words)["reconstruction"].backward()
    assert not [name for name, p in csr.named_parameters() if p.grad is None or not p.grad.any()]


def contrasted(**options: object) -> tuple[CompleteSemanticReconstruction, torch.Tensor, dict[str, torch.Tensor]]:
    """A branch whose hinges are all active, its attention, and its loss terms."""
    csr, inputs = build(**{"contrast": 1.0, "contrast_margins": (50.0, 50.0)} | options).eval(), Inputs()
    attention = csr.attention(inputs.features, inputs.mask)
    return csr, attention, csr.loss(inputs.features, inputs.mask, attention, inputs.sentences, inputs.words)


def test_the_contrast_pulls_on_the_reconstructor_as_the_likelihood_does():
    """Twice as much where both hinges are active, and not through the whole video or 1 - A_CSR, which pulls on the
    attention alone."""
    csr, attention, terms = contrasted()
    weights = list(csr.reconstruct.parameters())
    own = torch.autograd.grad(terms["reconstruction"], [*weights, attention], retain_graph=True)
    contrast = torch.autograd.grad(terms["contrast"], [*weights, attention], retain_graph=True)
    for first, second in zip(own[:-1], contrast[:-1], strict=True):
        assert torch.allclose(2 * first, second, atol=1e-5)
    assert not torch.allclose(2 * own[-1], contrast[-1], atol=1e-4)


def test_the_contrast_may_train_the_attention_alone():
    """Then no weight of the reconstructor gets a gradient of it; its value and its pull on the attention are equal."""
    csr, attention, terms = contrasted(contrast_trains="attention")
    pulls = torch.autograd.grad(terms["contrast"], [attention, *csr.reconstruct.parameters()], allow_unused=True)
    assert [pull is None for pull in pulls] == [False, *([True] * (len(pulls) - 1))]
    _, other, expected = contrasted()
    assert terms["contrast"].item() == pytest.approx(expected["contrast"].item(), rel=1e-5)
    assert torch.allclose(pulls[0], torch.autograd.grad(expected["contrast"], other)[0], atol=1e-5)


def test_the_contrast_grows_from_nothing():
    """A small weight changes what is trained by little: nothing jumps when the contrast is switched on."""
    gradients = []
    for weight in (0.0, 1e-4):
        csr, _, terms = contrasted(contrast=weight)
        torch.stack(list(terms.values())).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in csr.parameters() if p.grad is not None]))
    off, on = gradients
    assert not torch.equal(on, off)
    assert (on - off).norm() < 1e-3 * off.norm()


def test_contrast_restated():
    """Hinges on the likelihood from A_CSR, against that of the whole video and that of 1 - A_CSR, and the weight."""
    csr, inputs = build(contrast=0.5, contrast_margins=(50.0, 50.0)).eval(), Inputs()
    attention = csr.attention(inputs.features, inputs.mask)
    terms = csr.loss(inputs.features, inputs.mask, attention, inputs.sentences, inputs.words)
    nll = {}
    for name, gate in (("own", attention), ("whole", None), ("rest", 1 - attention)):
        nll[name] = word_nll(inputs.logits(csr, gate), inputs.sentences, smoothing=0)
    expected = (nll["own"] - nll["whole"] + 50).mean() + (nll["own"] - nll["rest"] + 50).mean()
    assert terms["contrast"].item() == pytest.approx(0.5 * expected.item(), rel=1e-5)
    assert terms["whole"].item() == pytest.approx(0.5 * nll["whole"].mean().item(), rel=1e-5)


def test_reconstruction_does_not_care_how_high_the_attention_is():
    """Outside the softmax gates are renormalised: a tenth of A_CSR restores the same words."""
    csr, inputs = build(gating="outside").eval(), Inputs()
    attention = csr.attention(inputs.features, inputs.mask)
    assert torch.allclose(inputs.logits(csr, attention), inputs.logits(csr, 0.1 * attention), atol=1e-4)
    uneven = attention * torch.linspace(0.1, 1, attention.shape[1])
    assert not torch.allclose(inputs.logits(csr, attention), inputs.logits(csr, uneven), atol=1e-3)


def test_norm_restated():
    """The weighted mean of A_CSR, over each video's real snippets and then over videos; no term without a weight."""
    inputs = Inputs()
    for weight in (0.0, 0.3):
        csr = build(norm=weight).eval()
        attention = csr.attention(inputs.features, inputs.mask)
        terms = csr.loss(inputs.features, inputs.mask, attention, inputs.sentences, inputs.words)
        means = [attention[0, :9].mean().item(), attention[1, :6].mean().item()]
        assert terms.get("norm", torch.tensor(0.0)).item() == pytest.approx(weight * sum(means) / 2)
        assert ("norm" in terms) == (weight > 0)


def test_the_contrast_alone_saturates_the_attention_and_the_norm_prevents_it():
    """Where 4 of 12 snippets tell the words, both attend to these, but the contrast alone to all others as well."""
    inside, outside = _attention_after_training(norm=0.0)
    assert inside > 0.95
    assert outside > 0.9
    inside, outside = _attention_after_training(norm=0.1)
    assert inside > 0.5
    assert outside < 0.5


def _attention_after_training(*, norm: float) -> tuple[float, float]:
    """Mean A_CSR inside and outside the actions of made-up videos, each of one of four kinds, after 100 steps."""
    torch.manual_seed(0)
    small = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0, "attention_dropout": 0}
    recipe = CsrRecipe.model_validate({**small, "contrast": 1.0, "norm": norm})
    csr = CompleteSemanticReconstruction(recipe, feature_width=8, word_width=5, vocabulary=7)
    optimizer = torch.optim.Adam(csr.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(5)
    vectors, looks = torch.randn(7, 5, generator=generator), torch.randn(4, 8, generator=generator)
    mask, shown = torch.ones(16, 12, dtype=torch.bool), torch.ones(16, 2, dtype=torch.bool)
    attention = inside = torch.zeros(0)
    for _ in range(100):
        kind = torch.randint(0, 4, (16,), generator=generator)
        since = torch.arange(12) - torch.randint(0, 9, (16, 1), generator=generator)
        inside = (since >= 0) & (since < 4)
        noise = 1 + 0.3 * torch.randn(16, 12, 8, generator=generator)
        features = noise + inside.unsqueeze(-1) * looks[kind].unsqueeze(1)
        ids = torch.stack((3 + kind, 3 + (kind + 1) % 4), dim=1)
        attention = csr.attention(features, mask)
        terms = csr.loss(features, mask, attention, Sentences(ids, shown, shown), vectors[ids])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    return attention[inside].mean().item(), attention[~inside].mean().item()
