"""Reasoning cut off from what a model says: a description is what it says after it has thought."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = (
    r"(?:\w{1,20}:)?(?:think(?:ing)?(?:_process)?|thoughts?|reason(?:ing)?|reflection|analysis|rationale|scratchpad"
    r"|inner_monologue|chain_of_thought)"
)
_LEFT, _RIGHT = r"(?:<|&lt;)[|｜]?", r"[|｜]?(?:>|&gt;)"
_OF = r"[_▁](?:of[_▁])?"

# As chat templates and the reasoning parsers of vLLM and SGLang have them.
_BEGIN = "|".join(
    (
        rf"{_LEFT}\s?{_NAMES}(?:\s+\w+=[^<>]{{0,80}})?\s?{_RIGHT}",  # DeepSeek-R1, Qwen3, <seed:think>
        rf"{_LEFT}(?:begin|start){_OF}{_NAMES}{_RIGHT}|{_LEFT}{_NAMES}_(?:begin|start){_RIGHT}",  # OpenThinker, Cohere
        r"(?-i:\[THINK(?:ING)?\])|◁think▷|<unused94>(?:thought)?",  # Magistral, Kimi-VL, MedGemma
        r"<\|channel>\s*(?:thought|analysis)\b",  # Gemma 4
        r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)[^<>]{0,80}<\|message\|>",  # gpt-oss
        r"\A(?-i:analysis(?=[A-Z]))",  # gpt-oss without its special tokens
        r"\A\s*Here(?: is|'s|’s) my thought process:",  # Granite
    )
)
_END = "|".join(
    (
        rf"{_LEFT}\s?/\s?{_NAMES}\s?{_RIGHT}",
        rf"{_LEFT}end{_OF}{_NAMES}{_RIGHT}|{_LEFT}{_NAMES}_end{_RIGHT}",
        r"(?-i:\[/THINK(?:ING)?\])|◁/think▷|<unused95>|<channel\|>",
        r"(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final[^<>]{0,80}<\|message\|>",
        r"(?-i:assistantfinal(?=[A-Z]))",
        r"\bHere(?: is|'s|’s) my response:",
    )
)
_TAG = re.compile(rf"(?P<begin>{_BEGIN})|(?P<end>{_END})", re.IGNORECASE)
# What such models put around the answer that follows.
_AROUND = re.compile(
    rf"{_LEFT}/?(?:answer|response|output|final(?:_answer)?|solution|conclusion){_RIGHT}"
    rf"|{_LEFT}(?:begin|start|end){_OF}(?:answer|response|solution|box){_RIGHT}|<\|(?:return|end|im_end)\|>",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Spoken:
    """What a model said, its reasoning left out."""

    text: str
    reasoning: bool
    """Whether there was any."""
    ended: bool = True
    """Whether it came to an end."""

    @property
    def no_text(self) -> str | None:
        """Why there is no text, where all that was said is reasoning."""
        if self.text or not self.reasoning:
            return None
        return "the answer is reasoning alone" if self.ended else "the answer is reasoning that never ended"


def is_tag(text: str) -> bool:
    """Whether this text, of one token say, begins or ends reasoning."""
    return _TAG.fullmatch(text.strip()) is not None


def opens(prompt: str) -> bool:
    """Whether a prompt ends inside reasoning, as templates of thinking models do: the answer goes on with it."""
    last = next(reversed([*_TAG.finditer(prompt[-200:])]), None)
    return last is not None and last["begin"] is not None and not prompt[-200:][last.end() :].strip()


def without_reasoning(said: str, *, apart: str = "", inside: bool = False) -> Spoken:
    """Cut reasoning out of `said`: between its tags, before an end tag that has no begin, after a begin without end.

    `apart` is reasoning that came beside the text. `inside`: `said` begins within reasoning (`opens`).
    """
    visible: list[str] = []
    at, within, found = 0, inside, inside or bool(apart.strip())
    for tag in _TAG.finditer(said):
        piece, at = said[at : tag.start()].strip(), tag.end()
        if tag["begin"]:
            visible += [] if within else [piece]
        elif not within and found and not said[at:].strip():  # an end tag too many, behind the answer
            visible.append(piece)
        elif not within:
            visible = []
        within, found = tag["begin"] is not None, True
    if not within:
        visible.append(said[at:].strip())
    text = " ".join(filter(None, visible))
    return Spoken(_AROUND.sub(" ", text).strip() if at else text, found, ended=not within)
