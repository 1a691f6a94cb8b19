"""Scores of the demo's video MLLM on held-out videos: ``python -m pipelines.demo.models.evaluate_describer``.

Unseen scripts are rendered to H.264, decoded and described by the code of the priors stage. Answers are compared with
the pixels, for prompts without a class, with the right class, and with a wrong one.
"""

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from pipelines.demo.world.captions import UNNAMED_PROMPTS, action_named, phases_named
from pipelines.demo.world.render import write_video
from pipelines.demo.world.script import CLASSES, Script, clip_script, video_script
from priors.describers.choice import make_describer
from priors.describers.protocol import Describer, Request, answers
from priors.describers.recipe import DescriberRecipe
from priors.run.prompts import render
from priors.video.frames import Frames, FramesRecipe, sample_frames

HELD_OUT_CLIPS, HELD_OUT_VIDEOS = 5_000_000, 6_000_000
MAX_NEW_TOKENS = 64


@dataclass(frozen=True)
class Settings:
    """Options of the evaluation."""

    model: Path = Path("pipelines/demo/checkpoints/describer")
    """Checkpoint folder."""
    clips: int = 240
    """Held-out trimmed clips."""
    videos: int = 80
    """Held-out untrimmed videos, as the priors stage meets them."""


@dataclass(frozen=True)
class Seen:
    """A held-out script with the frames that the describer gets."""

    script: Script
    label: str
    frames: Frames

    @property
    def phases(self) -> set[str]:
        """The motions that an instance of the label has here."""
        style = self.script.styles[self.label]
        return {style.approach, self.label, style.recovery}


def look(scripts: Iterable[Script], folder: Path) -> list[Seen]:
    """Render each script, decode it, and pair it with each class that it shows."""
    count = FramesRecipe().count
    seen = []
    for script in scripts:
        path = folder / "video.mp4"
        write_video(path, script)
        frames = sample_frames(path, count=count)
        seen += [Seen(script, label, frames) for label in script.styles]
    return seen


def ask(describer: Describer, seen: Sequence[Seen], prompts: Sequence[str]) -> list[str]:
    """The describer's answers."""
    requests = [
        Request(frames=one.frames, prompt=prompt, max_new_tokens=MAX_NEW_TOKENS)
        for one, prompt in zip(seen, prompts, strict=True)
    ]
    replies = []
    for start in range(0, len(requests), 16):
        replies += answers(describer, requests[start : start + 16])
    return [reply.text for reply in replies]


def action_accuracy(answers: Sequence[str], labels: Sequence[str]) -> float:
    """Share of answers that name exactly this action."""
    return float(np.mean([action_named(text) == label for text, label in zip(answers, labels, strict=True)]))


def phase_precision(answers: Sequence[str], seen: Sequence[Seen]) -> float:
    """Of all phases that the answers list, the share that is shown."""
    listed = [phases_named(text) for text in answers]
    right = sum(len(phases & one.phases) for phases, one in zip(listed, seen, strict=True))
    return right / max(1, sum(map(len, listed)))


def evaluate(settings: Settings) -> dict[str, float]:
    """All figures, 0 to 1."""
    describer = make_describer(DescriberRecipe(model=str(settings.model), device_map="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        clips = look((clip_script(HELD_OUT_CLIPS + k) for k in range(settings.clips)), Path(folder))
        videos = look((video_script(HELD_OUT_VIDEOS + k) for k in range(settings.videos)), Path(folder))
    shown = [one.label for one in clips]
    wrong = [
        CLASSES[(CLASSES.index(label) + 1 + k % (len(CLASSES) - 1)) % len(CLASSES)] for k, label in enumerate(shown)
    ]
    unnamed = {kind: ask(describer, clips, [prompt] * len(clips)) for kind, prompt in UNNAMED_PROMPTS.items()}
    named = ask(describer, clips, [render("key", label) for label in shown])
    misled = ask(describer, clips, [render("key", label) for label in wrong])
    key = ask(describer, videos, [render("key", one.label) for one in videos])
    complete = ask(describer, videos, [render("complete", one.label) for one in videos])
    return {
        "clips_action_no_class_in_prompt": action_accuracy(unnamed["key"], shown),
        "clips_phases_listed_that_are_shown": phase_precision(unnamed["complete"], clips),
        "clips_action_right_class_in_prompt": action_accuracy(named, shown),
        "clips_wrong_class_in_prompt_follows_pixels": action_accuracy(misled, shown),
        "clips_wrong_class_in_prompt_follows_prompt": action_accuracy(misled, wrong),
        "videos_action_named": action_accuracy(key, [one.label for one in videos]),
        "videos_phases_listed_that_are_shown": phase_precision(complete, videos),
    }


if __name__ == "__main__":
    print(json.dumps(evaluate(tyro.cli(Settings)), indent=1))
