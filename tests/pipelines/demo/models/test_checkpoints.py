"""The demo's shipped checkpoints: they load offline through the code of the real ones, and see what is shown."""

from pathlib import Path

import numpy as np
import torch

from pipelines.demo.models import evaluate_describer as held_out
from pipelines.demo.models.describer_model import build_model, build_processor
from pipelines.demo.models.describer_vision import encode_frames, patches
from pipelines.demo.world.captions import UNNAMED_PROMPTS
from pipelines.demo.world.script import CLASSES, clip_script
from priors.describers.choice import make_describer
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.torchvision_cpu import make_torchvision_importable
from priors.run.prompts import render
from priors.words.glove import GloveRecipe, WordVectors
from priors.words.tokens import tokenize

CHECKPOINTS = Path("pipelines/demo/checkpoints")


def test_checkpoints_are_small():
    """All that is shipped weighs under 12 MB, and every checkpoint has its card."""
    files = [path for path in CHECKPOINTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    for name in ("describer", "rgb_encoder", "flow_encoder"):
        assert (CHECKPOINTS / name / "README.md").read_text().startswith("# ")


def test_describer_follows_the_pixels(tmp_path):
    """On held-out clips it names the action unasked, lists phases that are shown, and follows no wrong name."""
    describer = make_describer(DescriberRecipe(model=str(CHECKPOINTS / "describer"), device_map="cpu"))
    scripts = (clip_script(held_out.HELD_OUT_CLIPS + 1000 + k, label) for k, label in enumerate(2 * CLASSES))
    clips = held_out.look(scripts, tmp_path)
    shown = [clip.label for clip in clips]
    unnamed = held_out.ask(describer, clips, [UNNAMED_PROMPTS["key"]] * len(clips))
    complete = held_out.ask(describer, clips, [UNNAMED_PROMPTS["complete"]] * len(clips))
    misled = held_out.ask(describer, clips, [render("key", CLASSES[(k + 3) % len(CLASSES)]) for k in range(len(clips))])
    assert held_out.action_accuracy(unnamed, shown) >= 0.9
    assert held_out.phase_precision(complete, clips) >= 0.8
    assert held_out.action_accuracy(misled, shown) >= 0.8


def test_training_shortcut_equals_the_tower():
    """The batched vision forward of the training is the tower's own."""
    make_torchvision_importable()
    processor = build_processor()
    vision = build_model(processor).model.vision_model.eval()
    pictures = np.random.default_rng(0).integers(0, 255, (32, 112, 112, 3), np.uint8)
    pixels = patches(processor, pictures)
    with torch.inference_mode():
        own = vision(
            pixel_values=pixels, grid_thw=torch.tensor([[16, 4, 4]] * 2), merge_sizes=torch.tensor([2, 2])
        ).last_hidden_state
        torch.testing.assert_close(encode_frames(vision, pixels).flatten(0, 1), own, atol=1e-5, rtol=1e-4)


def test_word_vectors_know_the_words():
    """Prompts hold no word that the shipped table does not know, but for the signs and the class's own spelling."""
    vectors = WordVectors.load(GloveRecipe(path=CHECKPOINTS / "words.txt"))
    words = [word for label in CLASSES for kind in ("key", "complete") for word in tokenize(render(kind, label))]
    assert (vectors.lookup(words) >= 0).all()
