"""Marks the words of a text that name the action: words of the class name, their inflections and agent nouns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from cache.descriptions.function_words import FUNCTION_WORDS
from priors.words.tokens import tokenize

if TYPE_CHECKING:
    from gensim.parsing.porter import PorterStemmer

ACTION_WORDS_VERSION = 1
"""Part of the fingerprint of embeddings; increased when other words of the same text would be marked."""

_FURTHER = """
'd 'll 'm 're 's 've n't all among because beneath beside beyond doing done every inside outside past toward towards
upon
"""
_FUNCTION_WORDS = FUNCTION_WORDS | frozenset(_FURTHER.split())
"""Never marked, even if they are part of a class name ("Putting on makeup", "Doing karate")."""

# First the base form, then its irregular forms.
_IRREGULAR_FORMS = """
archery archer archers | bend bent | bind bound | bite bitten | blow blew blown | break broke broken | build built
buy bought | catch caught | child children | cling clung | creep crept | cut cutting | deal dealt | dig dug | dive dove
draw drew drawn | drink drank drunk | drive drove driven | eat ate eaten | fall fell fallen | feed fed | fight fought
fling flung | fly flew flown | foot feet | freeze froze frozen | get got gotten | give gave given | go went gone
grow grew grown | hang hung | hide hid hidden | hold held | keep kept | kneel knelt | knife knives | lay laid
lead led | lean leant | leap leapt | leave left | light lit | lose lost | make made | man men | piano pianist pianists
ride rode ridden | ring rang rung | rise rose risen | run ran | saw sawn | see saw seen | sell sold | send sent
sew sewn | shake shook shaken | shoot shot | show shown | shrink shrank shrunk | sing sang sung | sink sank sunk
sit sat | slay slew slain | sleep slept | slide slid | sling slung | slip slipt | sow sown | spin spun | spring sprang
sprung | stand stood | steal stole stolen | stick stuck | sting stung | stride strode stridden | strike struck stricken
string strung | sweep swept | swim swam swum | swing swung | take took taken | teach taught | tear tore torn
throw threw thrown | tooth teeth | tread trod trodden | wake woke woken | wear wore worn | weave wove woven
wind wound | woman women | wring wrung | write wrote written
"""

# Misspellings in public class lists -> the words that a text uses.
_SPELLINGS = {
    "flauta": ("flute",),
    "forniture": ("furniture",),
    "guitarra": ("guitar",),
    "plataform": ("platform",),
    "shotput": ("shot", "put"),
}


_BEGINNING = 3  # letters that two joined words must share with a class name to be compared at all


def is_action_word(tokens: Sequence[str], action_class: str) -> list[bool]:
    """For each token, whether it is a form of a content word of the class name.

    Forms are words with the same Porter stem (dives, diving), irregular forms (threw) and agent nouns (thrower).
    Compounds written apart or together ("wind surfing" for Windsurfing, "longjump" for LongJump) count too. Articles,
    prepositions, pronouns and auxiliaries never do.

    >>> is_action_word(["the", "diver", "dived", "into", "it"], "CliffDiving") [False, True, True, False, False]
    """
    names = _name_forms(action_class)
    marks = [token not in _FUNCTION_WORDS and not names.isdisjoint(_forms(token)) for token in tokens]
    beginnings = {name[:_BEGINNING] for name in names}
    for place, (first, second) in enumerate(pairwise(tokens)):
        both = first + second
        if both[:_BEGINNING] in beginnings and both.isalpha() and not names.isdisjoint(_forms(both)):
            for word in (place, place + 1):
                marks[word] |= tokens[word] not in _FUNCTION_WORDS
    return marks


@cache
def _name_forms(action_class: str) -> frozenset[str]:
    spelled = [word for word in tokenize(action_class.replace("_", " ")) if any(sign.isalnum() for sign in word)]
    words = [part for word in spelled for part in (word, *_SPELLINGS.get(word, ()))]
    content = [word for word in words if word not in _FUNCTION_WORDS] or words
    joined = [first + second for first, second in pairwise(spelled)]
    return frozenset(form for word in (*content, *joined) for form in _forms(word))


@lru_cache(maxsize=100_000)
def _forms(word: str) -> frozenset[str]:
    """Stems of a word and its base forms: two words are forms of each other if they share one."""
    return frozenset(_stemmer().stem(base) for base in (word, *_bases(word))) if word.isalpha() else frozenset([word])


def _bases(word: str) -> Iterator[str]:
    if word in _irregular():
        yield from _irregular()[word]
    single = word[:-1] if word.endswith("s") and not word.endswith("ss") else word
    for ending in ("er", "or", "ist"):
        base = single.removesuffix(ending)
        if base != single and len(base) >= 3:
            yield base
            yield base + "e"
            if base[-1] == base[-2]:
                yield base[:-1]  # runner: run


@cache
def _irregular() -> dict[str, list[str]]:
    bases: dict[str, list[str]] = {}
    for line in _IRREGULAR_FORMS.replace("\n", " | ").split("|"):
        base, *forms = line.split() or [""]
        for form in forms:
            bases.setdefault(form, []).append(base)
    return bases


@cache
def _stemmer() -> PorterStemmer:
    from gensim.parsing.porter import PorterStemmer

    return PorterStemmer()
