"""What stands for a word without a vector, and which parts a word is cut into."""

import pytest

from priors.words.unknown_words import known_parts

KNOWN = {"stick", "figure", "somersault", "skip", "tidy", "dance", "run", "100", "m", "jump", "long", "foot", "ball"}


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("dance", ["dance"]),
        ("somersaulted", ["somersault"]),
        ("dancing", ["dance"]),
        ("skipped", ["skip"]),
        ("tidied", ["tidy"]),
        ("stickfigure", ["stick", "figure"]),
        ("football", ["foot", "ball"]),
        ("100m", ["100", "m"]),
        ("jump'foot", ["jump", "foot"]),
        ("longish", ["long"]),
        ("superfigure", ["figure"]),
        ("danceqqfigure", ["dance", "figure"]),
        ("xyzzy", []),
        ("runxx", []),
        ("!", []),
        ("", []),
    ],
)
def test_words_are_cut_into_known_parts(word, parts):
    """Base forms before compounds before beginnings and endings; three letters alone say too little."""
    assert known_parts(word, KNOWN) == parts


def test_the_most_balanced_of_several_cuts_counts():
    """Tables hold many short words that mean nothing here."""
    assert known_parts("bookshelves", {"boo", "kshelves", "book", "shelves"}) == ["book", "shelves"]
