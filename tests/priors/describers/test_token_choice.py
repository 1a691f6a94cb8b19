"""How tokens are chosen: drawn, held back from repetition, or searched for, an answer never depends on its batch."""

import itertools
from typing import Any

import pytest

from priors.describers.hf import HfDescriber
from priors.describers.options import GenerationRecipe
from priors.describers.protocol import Request, answers
from priors.describers.recipe import DescriberRecipe
from tests.support.models.family_checks import PROMPT, noise


@pytest.fixture(scope="module")
def describer(tiny_model) -> HfDescriber:
    """A tiny random model."""
    return HfDescriber(DescriberRecipe(model=str(tiny_model("qwen2_5_vl"))))


def _with(describer: HfDescriber, **settings: object) -> HfDescriber:
    return HfDescriber(describer.recipe.model_copy(update={"generation": GenerationRecipe(**settings)}))  # pyright: ignore[reportArgumentType]


def test_drawing_is_the_same_in_every_run_and_batch(describer):
    """Random numbers belong to the question and the frames: not to the run, the place in a batch, or its neighbours."""
    drawing = _with(describer, temperature=1.0)
    requests = [Request(noise(seed), PROMPT, 8) for seed in range(4)]
    first = answers(drawing, requests)
    assert first == answers(drawing, requests[::-1])[::-1]
    assert first == [answers(drawing, [request])[0] for request in requests]
    assert first != answers(_with(describer, temperature=1.0, seed=1), requests)
    assert first != answers(describer, requests)
    nearly_greedy = answers(_with(describer, temperature=1.0, top_p=1e-6), requests)
    assert nearly_greedy == answers(describer, requests)


def test_drawn_tokens_follow_the_distribution():
    """Shares of 1500 draws from three tokens, with and without the tail; one seed a row."""
    import torch

    from priors.describers.token_choice import Draw

    share = torch.tensor([0.6, 0.3, 0.1])
    scores = (share.log() * 0.5).repeat(1500, 1)
    ids = torch.zeros((1500, 1), dtype=torch.long)
    drawn = Draw(0.5, 1.0, range(1500))(ids, scores).argmax(dim=1)
    assert torch.bincount(drawn, minlength=3) / 1500 == pytest.approx(share, abs=0.04)
    drawn = Draw(0.5, 0.85, range(1500))(ids, scores).argmax(dim=1)
    assert torch.bincount(drawn, minlength=3) / 1500 == pytest.approx([2 / 3, 1 / 3, 0], abs=0.04)


def _new_tokens(describer: HfDescriber, count: int) -> list[int]:
    """The new tokens of one request, as `generate` returns them."""
    seen = []
    decode = describer.text
    describer.text = lambda tokens: seen.append(tokens) or decode(tokens)  # pyright: ignore[reportAttributeAccessIssue]
    answers(describer, [Request(noise(0), PROMPT, count), Request(noise(1), "Describe.", count)])
    return seen[0]


def test_repetition_is_held_back_among_the_new_tokens_alone(describer):
    """No pair of tokens twice in the answer; what the prompt or its padding holds may be said."""
    tokens = _new_tokens(_with(describer, no_repeat_ngram=2), 60)
    pairs = list(itertools.pairwise(tokens))
    assert len(pairs) == len(set(pairs))
    penalized = _new_tokens(_with(describer, repetition_penalty=50.0), 60)
    assert len(set(penalized)) > len(set(_new_tokens(HfDescriber(describer.recipe), 60)))
    mild = answers(_with(describer, repetition_penalty=50.0), [Request(noise(0), PROMPT, 1)])
    assert mild == answers(describer, [Request(noise(0), PROMPT, 1)])


def test_the_prompt_and_its_padding_do_not_count_as_repetition():
    """Scores change for new tokens alone: not for what the prompt holds, nor for the padding before it."""
    import torch

    from priors.describers.token_choice import processors

    settings = GenerationRecipe(repetition_penalty=2.0, no_repeat_ngram=2)
    prompt: Any = torch.tensor([[0, 0, 5, 6, 5], [4, 5, 6, 7, 5]])
    scores: Any = torch.full((2, 9), 3.0)
    assert torch.equal(processors(settings, 5, [])(prompt, scores.clone()), scores)
    new = torch.tensor([[5, 8, 5], [8, 8, 6]])
    expected = scores.clone()
    expected[0, [5, 8]] = torch.tensor([1.5, -torch.inf])  # 5 was followed by 8 before
    expected[1, [6, 8]] = 1.5
    both: Any = torch.cat([prompt, new], dim=1)
    assert torch.equal(processors(settings, 5, [])(both, scores.clone()), expected)


def test_beams_answer_alike_in_any_batch(describer):
    """Beam search belongs to a request, too, and to its limit: a longer one beside it does not change what it finds."""
    beams = _with(describer, beams=3)
    requests = [
        Request(noise(0), PROMPT, 6),
        Request(noise(1, height=30, width=110), "Describe.", 6),
        Request(noise(0), PROMPT, 20),
    ]
    together = answers(beams, requests)
    assert together == [answers(beams, [request])[0] for request in requests]
    assert together != answers(describer, requests)
