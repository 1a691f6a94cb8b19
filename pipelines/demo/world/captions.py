"""Captions that the demo's describer (captioning model) learns, and which motions a caption names."""

from pipelines.demo.world.motions import CORES
from pipelines.demo.world.script import Script, Style

APPROACH_WORDS = {"run": "runs up fast", "crouch": "crouches down low", "swing": "swings both arms around"}
CORE_WORDS = {
    "BallThrow": "throws a ball far forward",
    "BarbellLift": "lifts a heavy barbell overhead",
    "Cartwheel": "turns a cartwheel sideways",
    "FencingLunge": "lunges with a fencing foil",
    "Handstand": "holds a handstand upside down",
    "HighKick": "kicks one leg high up",
    "PushUp": "pushes up from the floor",
    "StarJump": "jumps into a wide star",
}
RECOVERY_WORDS = {"cheer": "cheers with raised hands", "bow": "bows to the crowd", "kneel": "kneels on one knee"}
SCENE_WORDS = {"stadium": "in the stadium", "gym": "in the gym", "beach": "on the beach", "street": "in the street"}
PHASE_WORDS = {**APPROACH_WORDS, **CORE_WORDS, **RECOVERY_WORDS}

UNNAMED_PROMPTS = {
    "key": "Please describe the action with one sentence.",
    "complete": "Please describe the action in detail.",
}


def key_caption(script: Script, label: str) -> str:
    """One sentence: the core and the scene of its first instance."""
    start = next(beat.start for beat in script.beats if beat.motion == label)
    scene = next(shot.scene for shot in script.shots if shot.end > start)
    return f"The athlete {CORE_WORDS[label]} {SCENE_WORDS[scene]}."


def complete_caption(label: str, style: Style) -> str:
    """The three phases of an instance in their order."""
    approach, recovery = APPROACH_WORDS[style.approach], RECOVERY_WORDS[style.recovery]
    return f"The athlete first {approach}, then {CORE_WORDS[label]}, and finally {recovery}."


def phases_named(text: str) -> set[str]:
    """The motions whose phrase occurs in a text."""
    return {motion for motion, words in PHASE_WORDS.items() if words in text}


def action_named(text: str) -> str | None:
    """The class whose core phrase a text contains; None when it names none or several."""
    named = phases_named(text) & set(CORES)
    return named.pop() if len(named) == 1 else None
