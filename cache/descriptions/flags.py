"""Flags of descriptions with problems, detected by rules over the text alone; in doubt, no flag is set."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

from cache.tables.schema import FLAGS, FinishReason, Flag

MEANINGS: dict[Flag, str] = {
    "empty": "contain no letters",
    "repeats_prompt": "only repeat their prompt",
    "loops": "repeat themselves",
    "refusal": "decline to answer",
    "cut": "are cut off",
    "wrong_language": "are not in English",
    "reasoning": "came with reasoning, which was cut off",
}
"""Meaning of each flag, to complete the sentence "descriptions that ..."."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s*")

_REPEATED_SHARE = 0.75
"""Share of words that are in the prompt in the same order, from which a text counts as a repetition of its prompt."""
_REDUNDANT_SHARE = 0.4
"""Share of words in repeated sentences."""
_SPELL, _SPELL_WORDS = 20, 5
"""A run of so many words with so few distinct ones counts as a loop."""
_TRIGRAM_SHARE = 0.5
"""Share of distinct trigrams below which a text counts as a loop; prose has more than 0.85, even if all sentences begin
alike."""
_FOREIGN_LETTERS = 0.3
"""Share of letters of another script from which a text is foreign, not English with a foreign name."""
_WIDEST = 50
"""Longest group of words whose immediate repetition is looked for; longer ones are repeated sentences."""
_LONG = 20
"""A text of so many words without a single English function word is not English."""

# Any group of one to eight letters, ten times in a row.
_STUTTER = re.compile(r"([^\W\d_]{1,8}?)\1{9,}")

_I = r"\b(?:i|we)(?:['’]m| am|['’]re| are)?"
_NOT = r"(?:can ?not|can['’]t|could ?n['’]t|could not|unable to|not able to|won['’]t|will not)"
_PICTURES = r"(?:videos?|images?|pictures?|frames?|footage|clips?|visual)"
_DECLINED = r"(?:assist|help|comply|fulfil|provide|answer|describe|view|watch|access|process|analy[sz]e|open|play)"
_REFUSALS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"^\W*(?:{_I} )?(?:(?:very|so|really|truly) )?(?:sorry|apologi[sz]e|apologies)\b",
        rf"^\W*(?:unfortunately|regrettably)\W+(?:{_I}|no {_PICTURES})\b",
        r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|text-based)\b",
        rf"^.{{0,120}}?{_I} {_NOT} (?:\w+ )?{_DECLINED}",
        rf"{_I} {_NOT} (?:\w+ )?(?:see|tell|identify|determine|make out)\b[^.!?]{{0,40}}\b{_PICTURES}\b",
        rf"\b(?:unable|not able) to (?:\w+ )?{_DECLINED}\b[^.!?]{{0,20}}\b{_PICTURES}\b",
        rf"{_I} (?:do not|don['’]t) have (?:the ability|access|the capability|any {_PICTURES})",
        rf"\bno {_PICTURES} (?:was|were|is|are|has been|have been) (?:provided|attached|uploaded|available|given)\b",
        rf"\bplease (?:provide|upload|share|attach) (?:me )?(?:with )?(?:the|a|an|your|some) (?:\w+ )?{_PICTURES}\b",
    )
)

# A text that ends with one of these words is cut off.
_OPEN_ENDS = "a an the and or but nor of his their its my our your whose with into onto while because"
_ENGLISH = """
a about after again against all also an and another any are around as at away back be been before behind being below
between both but by can each first for from front has have he her him himself his how if in into is it its itself left
more no not of off on one onto or other out over right she so some that the their them then there these they this those
through to toward towards two under until up very was were what when where which while who will with without you your
"""
# Frequent words, a language per line: Spanish, French, German, Italian, Portuguese, Dutch, Indonesian, Turkish, Polish,
# Swedish, Vietnamese and Romanian. Words that are also English ("met", "door") are outweighed by English ones.
_FOREIGN = """
el la los las un una unos que con por para del se su y en al es está mientras sobre desde hacia lo como
le la les un une des et dans avec sur qui est il elle sa du au aux en puis pour par ses sont une vers ce
der das ein eine einen einem einer und mit ist auf dem den im er sie zu zum zur von nicht dann sich wird
il lo gli un una che con per del della di si nel nella sul sulla è sono mentre poi dal alla uno ed dei
os um uma que com não em da para ao na dos das se seu sua ele ela é está enquanto pelo pela
de het een en van met op zijn naar wordt terwijl dan niet voor door aan uit hij zij deze
dan yang di dengan untuk ke dari sebuah seorang itu ini pada adalah sedang dalam kemudian
ve bir bu ile için çok olarak daha sonra gibi olan da de
w z do na się jest oraz nie który po potem przez od za jego
och en ett att som på med är för av till det den inte från han hon
và của một là trong người với được đang cho các này trên
și în pe cu este un o la din spre apoi care se sa lui
"""
# English function words that also occur in other languages: alone they do not make a text English.
_SHARED = frozenset(["a", "an", "as", "in", "is", "of", "on", "or", "over", "so", "under", "was"])
_OPEN_WORDS = frozenset(_OPEN_ENDS.split())
ENGLISH_WORDS = frozenset(_ENGLISH.split())
"""Words by which a text is recognised as English: frequent in descriptions, and not discriminative. `function_words`
has others, some of which ("me", "do", "am") are also words of other languages."""
_FOREIGN_WORDS = tuple(frozenset(line.split()) for line in _FOREIGN.strip().splitlines())


def flags_of(
    text: str, *, prompt: str, finish_reason: FinishReason | None, reasoning: bool = False
) -> tuple[Flag, ...]:
    """The flags of `text`, the answer to `prompt`, in the order of FLAGS; () if there are none.

    empty: no letter in it. repeats_prompt: nearly all of it is the prompt, or a sentence of it. loops: words, groups of
    words or sentences are repeated. refusal: the model declines, or says that it saw nothing. cut: ended by the token
    limit, or in the middle of a sentence. wrong_language: another script, or words of another language. reasoning: set
    by the caller, who cut it off.
    """
    plain = unicodedata.normalize("NFKC", text)
    flags: set[Flag] = {"reasoning"} if reasoning else set()
    if finish_reason == "length" or _breaks_off(plain):
        flags.add("cut")
    if not any(sign.isalpha() for sign in plain):
        flags.add("empty")
    else:
        checks: dict[Flag, bool] = {
            "repeats_prompt": _repeats(plain, prompt),
            "loops": _loops(plain),
            "refusal": any(pattern.search(plain) for pattern in _REFUSALS),
            "wrong_language": _is_foreign(plain),
        }
        flags.update(flag for flag, holds in checks.items() if holds)
    return tuple(flag for flag in FLAGS if flag in flags)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; numbers are words."""
    return _WORD.findall(text.lower())


def _sentences(text: str) -> list[list[str]]:
    return [words for part in _SENTENCE_END.split(text) if (words := words_of(part))]


def _repeats(text: str, prompt: str) -> bool:
    asked = words_of(unicodedata.normalize("NFKC", prompt))
    total = repeated = 0
    for sentence in _sentences(text):
        matcher = SequenceMatcher(None, sentence, asked, autojunk=False)
        total += len(sentence)
        repeated += sum(block.size for block in matcher.get_matching_blocks())
    # A few words, such as the name of the class, count as an answer, if a poor one.
    return min(3, len(asked)) <= repeated and repeated >= _REPEATED_SHARE * total


def _loops(text: str) -> bool:
    words = words_of(text)
    return (
        _STUTTER.search(text.lower()) is not None
        or _runs_in_circles(words)
        or _says_again(_sentences(text))
        or _has_few_words(words)
    )


def _runs_in_circles(words: Sequence[str]) -> bool:
    """Immediate repetition of a group of words: one or two words four times, three to seven words three times, more
    twice."""
    for width in range(1, min(len(words) // 2, _WIDEST) + 1):
        times = 4 if width <= 2 else 3 if width <= 7 else 2
        run = 0
        for place in range(width, len(words)):
            run = run + 1 if words[place] == words[place - width] else 0
            # Repeated numbers are allowed: a score, a count.
            if run >= width * (times - 1) and not "".join(words[place - width + 1 : place + 1]).isdigit():
                return True
    return False


def _says_again(sentences: Sequence[Sequence[str]]) -> bool:
    seen: set[tuple[str, ...]] = set()
    again = 0
    for sentence in map(tuple, sentences):
        again += len(sentence) if sentence in seen and len(sentence) >= 3 else 0
        seen.add(sentence)
    return again > 0 and again >= _REDUNDANT_SHARE * sum(map(len, sentences))


def _has_few_words(words: Sequence[str]) -> bool:
    """Loops with small changes, without an exact repetition of a group of words."""
    if len(words) < 10:
        return False
    if len(words) < _SPELL:
        return len(set(words)) < 0.3 * len(words)
    if any(len(set(words[at : at + _SPELL])) <= _SPELL_WORDS for at in range(len(words) - _SPELL + 1)):
        return True
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return len(set(trigrams)) < _TRIGRAM_SHARE * len(trigrams)


def _breaks_off(text: str) -> bool:
    text = text.rstrip()
    if text.endswith((",", ";", "(", "[", "-", "–", "—", "&")):
        return True
    words = _WORD.findall(text)
    return bool(words) and text.endswith(words[-1]) and words[-1] in _OPEN_WORDS and len(words) > 1


def _is_foreign(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    if sum(not _is_latin(sign) for sign in letters) >= _FOREIGN_LETTERS * len(letters):
        return True
    words = [word for word in words_of(text) if not word.isdigit()]
    english = [word for word in words if word in ENGLISH_WORDS or word.endswith(("ing", "'s"))]
    foreign = max(_foreign_words(words, language) for language in _FOREIGN_WORDS)
    if len(words) >= 5 and foreign >= 2 and (foreign > 2 * len(english) or (foreign >= 3 and {*english} <= _SHARED)):
        return True
    return len(words) >= _LONG and not english


def _foreign_words(words: Sequence[str], language: frozenset[str]) -> int:
    """Number of words of a language: its frequent words, and if there are two of these, also words with accents."""
    known = sum(word in language for word in words)
    return known if known < 2 else known + sum(not word.isascii() and word not in language for word in words)


def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or "LATIN" in unicodedata.name(letter, "")
