"""Texts are cut as GloVe's corpora were."""

import pytest

from priors.words.tokens import tokenize
from tests.support.paths import SHARED

SLICE = SHARED / "data" / "glove" / "glove_slice.300d.txt"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The athlete runs, then jumps.", "the athlete runs , then jumps ."),
        ("a run-up and a state‑of‑the‑art kick", "a run up and a state of the art kick"),
        ("from 10–15 m — slowly—then fast -- and on", "from 10 15 m -- slowly -- then fast -- and on"),
        ("HighKick CleanAndJerk ThrowDiscus BMXRide", "high kick clean and jerk throw discus bmx ride"),
        ("an iPhone in 3D", "an iphone in 3d"),
        ("the athlete's and the athletes’ arms", "the athlete 's and the athletes ' arms"),
        ("it doesn't, they're; I'd won’t can't", "it does n't , they 're ; i 'd wo n't ca n't"),
        ("at five o'clock, “quoted” and ‘so’", "at five o'clock , \" quoted \" and ' so '"),
        ("for 3.5 s at 12:30 (twice)...", "for 3.5 s at 12:30 ( twice ) ..."),
        ("1,000 fans, the 2nd 100m, 3.5m -5", "1,000 fans , the 2nd 100m , 3.5 m - 5"),
        ("the U.S. team, e.g. at 5 p.m.", "the u.s. team , e.g. at 5 p.m."),
        ("wait…… done", "wait ... done"),
        ("a soft\u00adhyphen, \ufeffa zero\u200bwidth sign", "a softhyphen , a zerowidth sign"),
        ("snake_case Ünïted 跳水 ＦＵＬＬ", "snake case ünïted 跳水 full"),
        ("he/she **bold**", "he / she * * bold * *"),
        ("  \n\t ", ""),
    ],
)
def test_texts_are_cut_into_glove_s_words(text, tokens):
    """Lower case; signs, possessives and short forms apart; hyphens, camel case and underscores split."""
    assert tokenize(text) == tokens.split()


def test_cutting_again_changes_nothing():
    """Tokens are words of their own."""
    tokens = tokenize("The athlete's run-up in HighKick wasn't 3.5 m long, at 5 p.m. o'clock — the 2nd “U.S.” try…!")
    assert [part for token in tokens for part in tokenize(token)] == tokens


@pytest.mark.parametrize(
    "word",
    ["the", "'s", "n't", "'re", "'d", "wo", "o'clock", "--", "...", ".", ",", ";", ":", "(", ")", '"', "?", "!", "$",
     "-", "u.s.", "p.m.", "e.g.", "3.5", "12:30", "2nd", "100m", "1980s", "naïve", "跳水"],
)  # fmt: skip
def test_words_of_glove_stay_whole(word):
    """What stands in the table as one word is looked up as one."""
    assert tokenize(word) == [word]


@pytest.mark.skipif(not SLICE.is_file(), reason="real word vectors are not here")
def test_words_of_a_real_table_stay_whole():
    """All of a slice of GloVe but words with hyphens and slashes, which are cut into their parts on purpose."""
    words = [line.split(" ", 1)[0] for line in SLICE.read_text(encoding="utf-8").splitlines()]
    cut = {word for word in words if tokenize(word) != [word]}
    assert cut == {"burnt-out", "walk-in", "non-stop", "he/she"}
