"""Key Semantic Matching."""

import pytest
import torch

from tests.support.plain.losses import plain_mil
from training.model.ksm import KeySemanticMatching, KsmRecipe


def build(**options) -> KeySemanticMatching:
    """Word vectors 5 wide, embedding 6 wide, three classes."""
    torch.manual_seed(0)
    recipe = KsmRecipe(width=8, heads=2, context=3, **options)
    return KeySemanticMatching(recipe, word_width=5, embedding_width=6, num_classes=3)


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and mask of three texts of 4, 2 and 3 words."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(4) < torch.tensor([4, 2, 3])[:, None]
    return torch.randn(3, 4, 5, generator=generator), mask


def test_padding_does_not_change_queries():
    """Rubbish at padding and more padding give the same queries."""
    ksm, (words, mask) = build().eval(), texts()
    expected = ksm.queries(words, mask)
    assert expected.shape == (4, 6)
    rubbish = words.masked_fill(~mask[..., None], 99.0)
    wider = torch.cat((rubbish, torch.full((3, 2, 5), 99.0)), 1), torch.nn.functional.pad(mask, (0, 2))
    assert torch.allclose(ksm.queries(*wider), expected, atol=1e-5)


def test_queries_read_every_word_and_its_place():
    """Another word, or the same words in another order, is another query; other classes' queries stay."""
    ksm, (words, mask) = build().eval(), texts()
    expected = ksm.queries(words, mask)
    for changed in (words.clone().index_fill_(1, torch.tensor([3]), 1.0), words[:, [1, 0, 2, 3]]):
        changed[1:] = words[1:]
        found = ksm.queries(changed, mask)
        assert not torch.allclose(found[0], expected[0], atol=1e-4)
        assert torch.allclose(found[1:], expected[1:], atol=1e-6)


def test_matching_by_hand():
    """M = F_e . F_query^T, divided by the square root of the width unless that is switched off."""
    embedding, queries = torch.randn(2, 7, 6), torch.randn(4, 6)
    expected = torch.stack([(embedding * query).sum(-1) for query in queries], dim=-1)
    assert torch.allclose(build(scale=False).match(embedding, queries), expected, atol=1e-5)
    assert torch.allclose(build().match(embedding, queries), expected / 6**0.5, atol=1e-5)


def plain_suppressed(attention: float, scores: list[float], suppression: str) -> list[float]:
    """Of one snippet: the product, or the product of what stands above its lowest score."""
    lowest = min(scores) if suppression == "suppress" else 0.0
    return [attention * (score - lowest) + lowest for score in scores]


@pytest.mark.parametrize("suppression", ["product", "suppress"])
def test_loss_restated(suppression: str):
    """In plain loops: M with background 1 and the suppressed M with background 0 (eqs 7 to 10), each times the weight,
    and padding counts for nothing."""
    generator = torch.Generator().manual_seed(2)
    matching, attention = torch.randn(2, 9, 4, generator=generator), torch.rand(2, 9, generator=generator)
    lengths, labels = (9, 7), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    terms = build(weight=2.0, mil_ratio=3, suppression=suppression).loss(matching, attention, mask, labels)
    product = torch.tensor(
        [
            [plain_suppressed(a, row, suppression) for a, row in zip(*video, strict=True)]
            for video in zip(attention.tolist(), matching.tolist(), strict=True)
        ]
    )
    first = plain_mil(matching, lengths, labels, background=1, ratio=3)
    second = plain_mil(product, lengths, labels, background=0, ratio=3)
    assert terms["matching"].item() == pytest.approx(2 * first, rel=1e-5)
    assert terms["matching_suppressed"].item() == pytest.approx(2 * second, rel=1e-5)


def test_less_attention_never_raises_a_score_that_is_suppressed_in_order():
    """`suppress` lowers negative scores, too, and keeps the order of a snippet's classes; the plain product of eq 7
    raises every negative score."""
    matching = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(3)) - 1
    high, low = torch.full((2, 9), 0.9), torch.full((2, 9), 0.2)
    ordered = build(suppression="suppress")
    assert (ordered.suppressed(matching, low) <= ordered.suppressed(matching, high)).all()
    assert torch.equal(ordered.suppressed(matching, low).argsort(-1), matching.argsort(-1))
    product, negative = build(), matching < 0
    assert negative.any()
    assert (product.suppressed(matching, low) > product.suppressed(matching, high))[negative].all()


def test_every_parameter_is_trained():
    """Context, [START], background and encoder all get a gradient."""
    ksm, (words, mask) = build(dropout=0.0), texts()
    scores = ksm.match(torch.randn(2, 9, 6), ksm.queries(words, mask))
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    terms = ksm.loss(scores, torch.rand(2, 9), torch.ones(2, 9, dtype=torch.bool), labels)
    torch.stack(list(terms.values())).sum().backward()
    assert not [name for name, p in ksm.named_parameters() if p.grad is None or not p.grad.any()]


def test_stored_queries_are_the_means_of_the_pools():
    """Each class's query is the weighted mean over its pool, encoded without dropout; the background's is its own."""
    ksm, (words, mask) = build(dropout=0.5).train(), texts()
    chunks = zip(words.split(2), mask.split(2), strict=True)
    ksm.store_queries(chunks, torch.tensor([1, 0, 1]), torch.tensor([0.25, 1.0, 0.75]))
    assert ksm.training
    ksm.eval()
    encoded = ksm.encode(words, mask)
    assert torch.allclose(ksm.class_queries[0], encoded[1], atol=1e-6)
    assert torch.allclose(ksm.class_queries[1], 0.25 * encoded[0] + 0.75 * encoded[2], atol=1e-6)
    assert torch.allclose(ksm.class_queries[3], ksm.queries(words, mask)[3], atol=1e-6)
    assert "class_queries" in ksm.state_dict()


def test_standardized_queries_lose_what_all_classes_share():
    """Over the classes each number has mean 0 and deviation 1; the background, and a single class, stay as they are."""
    plain, (words, mask) = build().eval(), texts()
    raw = plain.queries(words, mask)
    queries = build(standardize=True).eval().queries(words, mask)
    expected = (raw[:-1] - raw[:-1].mean(0)) / raw[:-1].std(0, correction=0)
    assert torch.allclose(queries[:-1], expected, atol=1e-2)
    assert torch.allclose(queries[:-1].mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(queries[:-1].std(0, correction=0), torch.ones(6), atol=1e-2)
    assert torch.equal(queries[-1], raw[-1])
    alone = build(standardize=True).eval().queries(words[:1], mask[:1])
    assert torch.equal(alone, plain.queries(words[:1], mask[:1]))


def test_stored_queries_are_standardized_behind_their_means():
    """Means over the pools come first, so that a class with many texts counts once."""
    (words, mask), pool = texts(), (torch.tensor([1, 0, 1]), torch.tensor([0.25, 1.0, 0.75]))
    stored = []
    for standardize in (False, True):
        ksm = build(standardize=standardize)
        ksm.store_queries([(words, mask)], *pool)
        stored.append(ksm.class_queries)
    raw, queries = stored
    assert torch.allclose(queries[:-1].mean(0), torch.zeros(6), atol=1e-5)
    centred = raw[:-1] - raw[:-1].mean(0)
    assert torch.allclose(queries[:-1], centred / (raw[:-1].std(0, correction=0) + 1e-5), atol=1e-5)
    assert torch.equal(queries[-1], raw[-1])
