"""Reasoning is cut off whatever tags it stands in, and nothing else is."""

import time

import pytest

from priors.answers.reasoning import Spoken, is_tag, opens, without_reasoning

TEXT = "A person dives."
WHY = "The user wants one sentence. I look at frame 1."


@pytest.mark.parametrize(
    "said",
    [
        f"<think>\n{WHY}\n</think>\n\n{TEXT}",
        f"{WHY}\n</think>\n\n{TEXT}",
        f"<think>\n\n</think>\n\n{TEXT}",
        f"</think>{TEXT}",
        f"<THINKING>{WHY}</THINKING><answer>{TEXT}</answer>",
        f"<reasoning>{WHY}</reasoning>\n{TEXT}",
        f"<think time=3>{WHY}</ think >{TEXT}",
        f"<seed:think>{WHY}</seed:think>{TEXT}",
        f"<|begin_of_thought|>{WHY}<|end_of_thought|>\n<|begin_of_solution|>{TEXT}<|end_of_solution|>",
        f"<|START_THINKING|>{WHY}<|END_THINKING|><|START_RESPONSE|>{TEXT}<|END_RESPONSE|>",
        f"[THINK]{WHY}[/THINK]{TEXT}",
        f"◁think▷{WHY}◁/think▷{TEXT}",
        f"<|channel|>analysis<|message|>{WHY}<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}<|return|>",
        f"analysis{WHY}assistantfinal{TEXT}",
        f"<|channel>thought\n{WHY}<channel|>{TEXT}",
        f"Here is my thought process:\n{WHY}\nHere is my response:\n{TEXT}",
        f"&lt;think&gt;{WHY}&lt;/think&gt;{TEXT}",
        f"<think>{WHY}<think>{WHY}</think>{WHY}</think>{TEXT}",
        f"<think>{WHY}</think>{TEXT}</think>",
        f"{TEXT} <think>{WHY}</think>",
    ],
)
def test_reasoning_is_cut_off(said):
    """Tags in common use, both or the end alone, once or several times."""
    assert without_reasoning(said) == Spoken(TEXT, True)


@pytest.mark.parametrize("said", [f"<think>\n{WHY}", f"<|begin_of_thought|>{WHY} A person", "<think>", "[THINK]hm"])
def test_reasoning_without_an_end_is_all(said):
    """There is no text after it, and the reason says why."""
    found = without_reasoning(said)
    assert (found.text, found.no_text) == ("", "the answer is reasoning that never ended")


def test_reasoning_alone():
    """Ended, or beside an empty text."""
    for found in (without_reasoning(f"{WHY}</think>\n"), without_reasoning("", apart=WHY)):
        assert (found.text, found.no_text) == ("", "the answer is reasoning alone")
    assert without_reasoning(TEXT, apart=WHY) == Spoken(TEXT, True)


@pytest.mark.parametrize(
    "said",
    [
        "",
        TEXT,
        "I think. A thought <of> the reasoning < / >",
        "[thinking] 3 < 4 > 2",
        "<analysis of a game>",
        "analysis of a final",
        f"<answer>{TEXT}</answer>",
    ],
)
def test_a_text_without_reasoning_stays(said):
    """Words are no tags."""
    assert without_reasoning(said) == Spoken(said, False)


def test_a_template_may_begin_the_reasoning():
    """Then the answer holds the end tag alone, or, where it was cut, none."""
    assert opens("<|im_start|>assistant\n<think>\n")
    assert not any(map(opens, ("", "<|im_start|>assistant\n", "<think>\n\n</think>\n\n", "<think> about it")))
    assert without_reasoning(WHY, inside=True) == Spoken("", True, ended=False)
    assert without_reasoning(f"{WHY}</think>{TEXT}", inside=True) == Spoken(TEXT, True)
    assert is_tag("[THINK]")
    assert is_tag("</think>")
    assert not is_tag("<|im_end|>")


@pytest.mark.parametrize(
    "piece", ["<", "<think ", "<think a=", "&lt;", "<|channel|>analysis", "<think>", "</think>", "a "]
)
def test_long_answers_take_no_longer_than_they_are(piece):
    """No pattern tries again and again."""
    began = time.monotonic()
    without_reasoning(piece * 20_000)
    assert time.monotonic() - began < 5
