"""Words that name the action are marked in every form, and function words never are."""

import json

import pytest

from priors.words.action_words import is_action_word
from priors.words.tokens import tokenize
from tests.support.paths import SHARED

ACTIVITYNET = SHARED / "data" / "activitynet12"
THUMOS = """
BaseballPitch BasketballDunk Billiards CleanAndJerk CliffDiving CricketBowling CricketShot Diving FrisbeeCatch
GolfSwing HammerThrow HighJump JavelinThrow LongJump PoleVault Shotput SoccerPenalty TennisSwing ThrowDiscus
VolleyballSpiking
"""
EVERYDAY = """
Archery
Arm wrestling
Assembling bicycle
Bungee jumping
Brushing teeth
Changing car wheel
Cleaning shoes
Doing a powerbomb
Doing karate
Drinking coffee
Getting a haircut
Grooming dog
Hand washing clothes
Having an ice cream
Hitting a pinata
Horseback riding
Ironing clothes
Kayaking
Layup drill in basketball
Making a sandwich
Mowing the lawn
Playing badminton
Playing rubik cube
Playing water polo
Polishing forniture
Preparing salad
Putting on makeup
Removing ice from car
Riding bumper cars
Rock-paper-scissors
Rope skipping
Running a marathon
Shoveling snow
Smoking a cigarette
Snow tubing
Swinging at the playground
Tai chi
Throwing darts
Tug of war
Using the rowing machine
Walking the dog
Washing dishes
Windsurfing
Wrapping presents
"""
"""One a line: gerunds, articles, prepositions, a hyphen, and a name that a public list misspells."""
FUNCTION_WORDS = tokenize(
    "The man is on it, and she was at the end of a run-up; they do not have to be in there, but he does it with his "
    "own hands as I'd said: you can, we won't, it's up to them. What had been done by those who did so, over or under?"
)
CONTENT = {"man", "end", "run", "hands", "said", "own"}


def marked(text: str, label: str) -> set[str]:
    """The tokens of `text` that are marked for `label`."""
    tokens = tokenize(text)
    return {token for token, is_action in zip(tokens, is_action_word(tokens, label), strict=True) if is_action}


@pytest.mark.parametrize(
    ("text", "label", "words"),
    [
        ("the athlete kicks high , kicking the ball higher", "HighKick", {"kicks", "high", "kicking", "higher"}),
        ("she throws the discus over the line", "Throw Discus", {"throws", "discus"}),
        ("cleaning and jerking", "CleanAndJerk", {"cleaning", "jerking"}),
        ("a person washes the dishes in a kitchen", "Washing dishes", {"washes", "dishes"}),
        ("diving", "springboard_diving", {"diving"}),
        ("nothing here", "High-Jump", set()),
        ("He threw it; it was thrown by a thrower, no throne", "HammerThrow", {"threw", "thrown", "thrower"}),
        ("he swung and swings the swinging club", "GolfSwing", {"swung", "swings", "swinging"}),
        ("caught by the catcher, catches", "FrisbeeCatch", {"caught", "catcher", "catches"}),
        ("a diver dove and dived off the cliffs", "CliffDiving", {"diver", "dove", "dived", "cliffs"}),
        ("she rode, has ridden, riders", "Horseback riding", {"rode", "ridden", "riders"}),
        ("they spun, the spinner spins", "Spinning", {"spun", "spinner", "spins"}),
        ("slam-dunks, a dunker dunked in basketball", "BasketballDunk", {"dunks", "dunker", "dunked", "basketball"}),
        ("a long jumper, a long-jump, longjumping", "LongJump", {"long", "jumper", "jump", "longjumping"}),
        ("break dancing and wind surfing", "Breakdancing", {"break", "dancing"}),
        ("break dancing and wind-surfers", "Windsurfing", {"wind", "surfers"}),
        ("a lay up; it drills", "Layup drill in basketball", {"lay", "drills"}),
        ("lay it to rest, up there", "Layup drill in basketball", set()),
        ("puts the shot, shotput", "Shotput", {"puts", "shot", "shotput"}),
        ("polishes the furniture", "Polishing forniture", {"polishes", "furniture"}),
        ("a pianist plays", "Playing piano", {"pianist", "plays"}),
        ("a tooth and teeth brushed", "Brushing teeth", {"tooth", "teeth", "brushed"}),
        ("she does karate and is doing it", "Doing karate", {"karate"}),
        ("puts it on with makeup", "Putting on makeup", {"puts", "makeup"}),
    ],
)
def test_action_words_are_the_class_name_s_in_any_form(text, label, words):
    """Stems, irregular forms, who does it, compounds in one word or two, and the misspelt names of public lists."""
    assert marked(text, label) == words


def check(label: str) -> None:
    """The longer words of a class's name are found in it, and no function word is taken for one."""
    found = marked(label, label)
    assert found
    assert {word for word in tokenize(label) if len(word) > 3} - {"doing", "from", "having", "with"} <= found
    assert not marked(" ".join(FUNCTION_WORDS), label) - CONTENT


@pytest.mark.parametrize("label", [*THUMOS.split(), *(line.strip() for line in EVERYDAY.strip().splitlines())])
def test_a_class_is_found_in_its_name_and_nowhere_in_function_words(label):
    """In camel case, and in the words that ActivityNet's classes are made of."""
    check(label)


@pytest.mark.skipif(not ACTIVITYNET.is_dir(), reason="real annotations are not here")
def test_every_class_of_activitynet_is_found_in_its_name():
    """The classes of the public file."""
    (path,) = ACTIVITYNET.glob("*.json")
    videos = json.loads(path.read_text())["database"].values()
    labels = {item["label"] for video in videos for item in video["annotations"]}
    assert len(labels) == 100
    for label in labels:
        check(label)
