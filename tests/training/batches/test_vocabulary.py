"""Word ids."""

import numpy as np

from cache.tables.embeddings import PriorTexts
from training.batches.vocabulary import UNKNOWN, Vocabulary

PRIORS = PriorTexts(("jump", "run", "the", "unused"), np.arange(8, dtype=np.float32).reshape(4, 2), {})
TEXTS = [("the", "run"), ("the", "jump", "xyzzy"), ("the",)]


def test_ids_follow_frequency_then_alphabet():
    """Ids 0 to 2 are special; the commonest word comes next; words without a vector or unused ones have none."""
    vocabulary = Vocabulary.fit(TEXTS, PRIORS)
    assert vocabulary.words == ("the", "jump", "run")
    assert len(vocabulary) == 6
    assert vocabulary.encode(("run", "xyzzy", "the", "unused")).tolist() == [5, UNKNOWN, 3, UNKNOWN]


def test_order_of_texts_does_not_matter():
    """The same texts in another order give the same vocabulary."""
    first, second = Vocabulary.fit(TEXTS, PRIORS), Vocabulary.fit(TEXTS[::-1], PRIORS)
    assert first.words == second.words
    assert np.array_equal(first.vectors, second.vectors)


def test_vectors_stand_at_their_ids():
    """Row i holds the vector of the word with id i, and the special rows are zero."""
    vocabulary = Vocabulary.fit(TEXTS, PRIORS)
    assert not vocabulary.vectors[:3].any()
    for word, row in zip(vocabulary.words, vocabulary.vectors[3:], strict=True):
        assert np.array_equal(row, PRIORS.vectors[PRIORS.words.index(word)])
