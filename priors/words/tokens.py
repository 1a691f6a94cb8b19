"""The tokenizer, which splits texts as GloVe's corpora were."""

from __future__ import annotations

import re
import unicodedata

TOKENIZER_VERSION = 2
"""Part of the fingerprint of embeddings; increased when the same text would give other tokens."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0e\ufe0f\ufeff]")
_PLAIN_SIGNS = str.maketrans({"‘": "'", "’": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"'})
_IN_WORD_HYPHEN = re.compile(r"(?<=[^\W_])[-‐‑–](?=[^\W_])")
_DASH = re.compile(r"[‒–—―]|-{2,}")
# Not after a digit ("3D") or a single letter ("iPhone"): these are single words.
_CAMEL = re.compile(r"(?<=[A-Za-z][a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TOKEN = re.compile(
    r"""\d+(?:[.,:]\d+)+          # numbers with separators: 3.5, 1,000, 12:30
      | (?:[^\W\d_]\.){2,}        # u.s., e.g., p.m.
      | (?<![^\W_])[dlo]'[^\W\d_]{3,}  # o'clock
      | [^\W\d_]+(?=n't\b)        # does|n't
      | n't\b
      | '(?:s|re|ve|ll|d|m)\b     # possessive and short forms
      | [^\W_]+                   # words, whole numbers, and both together: 2nd, 100m
      | \.{2,}
      | --
      | [^\w\s]                   # any other sign by itself
    """,
    re.VERBOSE,
)


def tokenize(text: str) -> list[str]:
    """Tokenize a text like GloVe's corpora: lower case; punctuation, possessives and contractions are separate tokens.

    Hyphenated and camel-case words are split: their parts are common words with good vectors, while the whole is rare
    or unknown. Quotes, dashes and dots are spelled as in GloVe's vocabulary.

    >>> tokenize("The athlete's run-up in HighKick isn't 3.5 m…") ['the', 'athlete', "'s", 'run', 'up', 'in', 'high',
    'kick', 'is', "n't", '3.5', 'm', '...']
    """
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).translate(_PLAIN_SIGNS)
    plain = _DASH.sub(" -- ", _IN_WORD_HYPHEN.sub(" ", plain))
    tokens = _TOKEN.findall(_CAMEL.sub(" ", plain).lower())
    return ["..." if token.startswith("..") else token for token in tokens]
