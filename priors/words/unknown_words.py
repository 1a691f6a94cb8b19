"""Vectors for words that are not in the table of word vectors."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator

import numpy as np
from jaxtyping import Float32

from priors.words.glove import WordVectors

_PIECE = re.compile(r"[^\W\d_]+|\d+")
_SHORTEST = 3  # letters of a part in a compound
_SHORTEST_END = 4  # letters of a single part that replaces a word
_ENDINGS = ("s", "es", "ed", "d", "ing", "er", "ers", "ly", "like", "less", "ness", "able")


def made_vector(word: str, vectors: WordVectors) -> Float32[np.ndarray, " w"] | None:
    """The vector of an unknown `word` under the policy of `vectors`; None if it gets none."""
    if vectors.unknown == "skip":
        return None
    if vectors.unknown == "zero":
        return np.zeros(vectors.width, np.float32)
    parts = known_parts(word, vectors)
    return vectors.vectors(vectors.lookup(parts).tolist()).mean(axis=0) if parts else None


def known_parts(word: str, known: Container[str]) -> list[str]:
    """Words of `known` that `word` is composed of; empty if there are none.

    Each run of letters or digits is replaced by the first of these that is known: itself, its base form (somersaulted:
    somersault), two words that it is composed of (stickfigure: stick, figure; of several pairs the most balanced), its
    longest prefix and suffix of four letters or more.
    """
    return [part for piece in _PIECE.findall(word) for part in _parts_of(piece, known)]


def _parts_of(piece: str, known: Container[str]) -> list[str]:
    if piece in known:
        return [piece]
    for base in _base_forms(piece):
        if base in known:
            return [base]
    cuts = [
        cut for cut in range(_SHORTEST, len(piece) - _SHORTEST + 1) if piece[:cut] in known and piece[cut:] in known
    ]
    if cuts:
        best = min(cuts, key=lambda cut: abs(len(piece) - 2 * cut))
        return [piece[:best], piece[best:]]
    lengths = range(len(piece) - 1, _SHORTEST_END - 1, -1)
    beginning = next((piece[:length] for length in lengths if piece[:length] in known), None)
    ending = next((piece[-length:] for length in lengths if piece[-length:] in known), None)
    return [part for part in (beginning, ending) if part is not None]


def _base_forms(word: str) -> Iterator[str]:
    for ending in _ENDINGS:
        base = word.removesuffix(ending)
        if base == word or len(base) < _SHORTEST:
            continue
        yield base
        yield base + "e"
        if base[-1] == base[-2]:
            yield base[:-1]  # skipped: skip
        if base[-1] == "i":
            yield base[:-1] + "y"  # tidied: tidy
