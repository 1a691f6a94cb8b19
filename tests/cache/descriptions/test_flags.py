"""Marks of useless texts: good prose gets none, each defect gets its own."""

import itertools
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cache.descriptions.flags import flags_of
from cache.tables.schema import FLAGS
from pipelines.demo.world.captions import APPROACH_WORDS, CORE_WORDS, PHASE_WORDS, RECOVERY_WORDS, SCENE_WORDS

PROMPTS = {
    "key": "This video contains the actions of {}. Please describe the action of {} with one sentence.",
    "complete": "This video contains the actions of {}. Please describe the action of {} in detail.",
}


def flags(text: str, *, label: str = "HighKick", kind: str = "key", finish_reason: str = "eos") -> tuple[str, ...]:
    """Of an answer to the prompt of a class."""
    return flags_of(text, prompt=PROMPTS[kind].replace("{}", label), finish_reason=finish_reason)  # pyright: ignore[reportArgumentType]


GOOD = (
    "a person dives",
    "HighKick.",
    "Gymnast on bar.",
    "A man performs CleanAndJerk with 100 kg, 3 times, in 2 sets.",
    "Athlete sprints, plants pole, vaults, clears bar, lands safely.",
    "Running, jumping, throwing, grass, stadium, crowd, javelin, whistle, flag.",
    "The man is unable to lift the barbell and says that he is sorry.",
    "The referee cannot see the ball, so the players stop.",
    "He hops, hops, hops and lands; the crowd goes wild, wild, wild.",
    "Left, right, left, right, left, right: the boxer throws his jabs.",
    "Step by step by step by step she walks along the beam.",
    "The score is 0 0 0 0 on the board while the teams warm up.",
    "He rides in the Tour de France, from Le Mans to La Rochelle.",
    "A fencer calls en garde, and the pas de deux of the blades begins.",
    "The dancer performs a samba with the name Aquarela do Brasil.",
    "The man performs the action of HighKick.",
    "A man does 太极拳 slowly.",
    "A man in a judo gi (柔道着) throws his partner to the mat.",
    "The person is running. The person is jumping. The person is landing on both feet. The person is cheering.",
    "In the video, the action of HighKick is performed by a woman who swings her right leg up to her head.",
    "This video contains the actions of HighKick. A man in white bends his knees, turns, and kicks over his head.",
    "First he looks at the bar that he jumps over",
    "The video does not show who throws the ball, but the ball lands in the net.",
    "He shouts: “I can't!” Then he lifts the barbell to his shoulders, rests, and pushes it over his head.",
    "The swimmer dives in at 0:12, surfaces at 0:15.5 and touches the wall after 1,500 m.",
    "Two men wrestle on a mat - one lifts the other, turns him over, and pins his shoulders down for 3 seconds.",
)


@pytest.mark.parametrize("text", GOOD)
def test_good_texts_get_none(text):
    """Also short ones, lists of words, names, numbers, foreign terms and honest repetition."""
    assert flags(text) == ()
    assert flags(text, kind="complete") == ()


def sentences() -> list[str]:
    """Some hundreds of sentences as describers write them."""
    who = ("A man", "The athlete in the red shirt", "A young woman", "Two players", "Someone")
    does = (
        "runs up and throws the javelin",
        "is lifting a barbell above the head",
        "jumps off the platform with a twist",
    )
    where = ("in a gym", "on a grass field near the stands", "while the crowd watches")
    ends = (".", ", then lands on both feet.", " and celebrates with raised arms", ", as the score changes to 3-2.")
    return [f"{a} {b} {c}{d}" for a, b, c, d in itertools.product(who, does, where, ends)]


def test_no_false_alarm_on_generated_sentences():
    """One by one, and as paragraphs of several."""
    texts = sentences()
    assert len(texts) >= 180
    assert [text for text in texts if flags(text)] == []
    paragraphs = [" ".join(texts[at::37]) for at in range(37)]
    assert [text for text in paragraphs if flags(text, kind="complete")] == []


@pytest.mark.parametrize("label", CORE_WORDS)
def test_no_false_alarm_on_the_captions_of_the_demo(label):
    """Everything that the demo's describer was taught to say."""
    core = CORE_WORDS[label]
    for scene in SCENE_WORDS.values():
        assert flags(f"The athlete {core} {scene}.", label=label) == ()
    for approach, recovery in itertools.product(APPROACH_WORDS.values(), RECOVERY_WORDS.values()):
        text = f"The athlete first {approach}, then {core}, and finally {recovery}."
        assert flags(text, label=label, kind="complete") == ()
    assert flags(PHASE_WORDS[label], label=label) == ()


@pytest.mark.parametrize("text", ["", " . ", "42.", "?!", "1. 2. 3."])
def test_empty(text):
    """No letter, no text."""
    assert flags(text) == ("empty",)


@pytest.mark.parametrize(
    "text",
    [
        PROMPTS["key"].replace("{}", "HighKick"),
        PROMPTS["complete"].replace("{}", "HighKick"),
        "This video contains the actions of HighKick.",
        "this video contains the actions of highkick",
        "Sure! This video contains the actions of HighKick.",
        "Please describe the action of HighKick in detail.",
        "This video contains the action of HighKick. Please describe it.",
    ],
)
def test_repeats_prompt(text):
    """The prompt, the sentence of it that names the class, and either with a word around it."""
    assert flags(text) == ("repeats_prompt",)


@pytest.mark.parametrize(
    "text",
    [
        "run run run run",
        "The man runs. The man runs.",
        "the man jumps and the man jumps and the man jumps and",
        "He throws the ball. He catches the ball. He throws the ball. He catches the ball. He throws the ball.",
        "A person is seen. " * 5,
        "hahahahahahahahahahaha",
        "ball throw ball ball throw throw ball throw ball ball throw",
        "The man kicks. Then " + "the ball flies to the goal, the keeper jumps to the left side, " * 2,
        ", ".join(f"he kicks {way}" for way in ("up", "out", "up", "down", "out", "up", "up", "down") * 2),
        "跑" * 30,
    ],
)
def test_loops(text):
    """Words, groups of words, sentences, letters; with small changes, too."""
    assert "loops" in flags(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot describe this video.",
        "I’m really sorry, I can’t assist with that.",
        "Sorry, I can't help.",
        "I apologize, but there is nothing to see here.",
        "Unfortunately, I cannot view the clip.",
        "As an AI language model, I do not watch videos.",
        "I am unable to view the video, so here is a general description of diving.",
        "Unable to access the video.",
        "It seems that no video was provided.",
        "Please upload the video that you want me to describe.",
        "I can not identify any action in these frames.",
        "I don't have the ability to watch videos.",
    ],
)
def test_refusal(text):
    """Declining, and saying that nothing was seen."""
    assert flags(text) == ("refusal",)


@pytest.mark.parametrize(
    "text", ["He runs to the", "He runs, jumps and", "He runs,", "A man with a ball (", "He runs -"]
)
def test_cut_in_the_middle(text):
    """An open end, even where the model stopped by itself."""
    assert flags(text) == ("cut",)
    assert flags(text + " mat.") == ()


FOREIGN = (
    "Un hombre corre por la pista y salta en la piscina con los brazos abiertos.",
    "Un homme saute dans la piscine.",
    "Une femme court sur la piste puis elle lance le javelot avec force.",
    "Ein Mann springt vom Turm ins Wasser und taucht dann auf.",
    "Die Frau läuft auf der Bahn und wirft den Speer.",
    "Der Athlet läuft an und springt in den Sand.",
    "Een man rent over de baan en springt in het zand.",
    "Mężczyzna biegnie po torze i skacze do piasku.",
    "Un atlet aleargă și sare în nisip.",
    "Un uomo corre sulla pista e poi lancia il giavellotto con forza.",
    "Um homem corre na pista e depois salta para a piscina com os braços abertos.",
    "Een man rent over de baan en gooit de speer met kracht.",
    "Seorang pria berlari di lintasan dan melempar lembing dengan kuat.",
    "Bir adam pistte koşuyor ve sonra çok uzağa bir mızrak atıyor.",
    "Mężczyzna biegnie po bieżni i rzuca oszczepem, a potem się cieszy.",
    "En man springer på banan och kastar ett spjut med stor kraft.",
    "Một người đàn ông đang chạy trên đường và ném lao.",
    "Мужчина бежит по дорожке и бросает копьё.",
    "一个人在跳水，然后游到池边。",
    "男性がプールに飛び込む。",
    "한 남자가 수영장에 뛰어든다.",
    "رجل يقفز في المسبح.",
    "एक आदमी पूल में कूदता है।",
)


@pytest.mark.parametrize(
    "text",
    [
        "Gymnasts perform jeté, plié, fouetté.",
        "El Niño, a surfer of São Paulo, rides a wave.",
        "In a café a man is on a sofa over a rug.",
        "Cristiano de la Cruz shoots a ball in Malmö.",
        "An athlete jumps over a bar as in a song of Édith Piaf.",
    ],
)
def test_a_few_foreign_words_make_no_text_foreign(text):
    """Names, terms, and words that several languages share."""
    assert flags(text) == ()


@pytest.mark.parametrize("text", FOREIGN)
def test_wrong_language(text):
    """Other scripts by their letters, Latin ones by their words."""
    assert flags(text) == ("wrong_language",)


def test_a_class_name_in_another_script_does_not_make_an_english_text_foreign():
    """A name is a small share of the letters."""
    assert flags("A man performs 跳水 from the tower and enters the water.", label="跳水") == ()


@given(st.text(max_size=200), st.text(max_size=80), st.sampled_from(["eos", "length"]))
@settings(deadline=None, max_examples=60)
def test_any_text_has_flags(text, prompt, finish_reason):
    """No text is too odd; flags are known, distinct, in their order; empty stands for no letter, cut for the limit."""
    found = flags_of(text, prompt=prompt, finish_reason=finish_reason)
    assert list(found) == [flag for flag in FLAGS if flag in found]
    assert ("cut" in found) >= (finish_reason == "length")
    assert flags_of(text, prompt=prompt, finish_reason=finish_reason) == found
    assert ("empty" not in found) or not any(sign.isalpha() for sign in text)


@settings(max_examples=30)
@given(st.sampled_from(sentences()), st.sampled_from(["", " ", "\n\n"]), st.booleans())
def test_case_and_white_space_change_nothing(text, blank, loud):
    """A loud text is as good as a quiet one."""
    assert flags(blank + (text.upper() if loud else text) + blank) == flags(text)


@settings(max_examples=30)
@given(st.sampled_from(sentences()), st.sampled_from(GOOD), st.integers(4, 9))
def test_what_is_said_again_and_again_loops(text, before, times):
    """Also after a good beginning."""
    assume(text.endswith("."))
    assert "loops" in flags(f"{before} {' '.join([text] * times)}")


def test_long_texts_take_no_long_time():
    """A degenerate answer at the limit of tokens is judged in a moment of this process's own time."""
    began = time.process_time()
    for text in ("a b " * 4000, "word" * 4000, "I " * 8000, " ".join(map(str, range(8000))) + " x"):
        flags(text)
    assert time.process_time() - began < 5
