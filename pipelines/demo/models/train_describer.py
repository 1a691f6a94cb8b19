"""Train the demo's video MLLM from scratch on rendered clips: ``python -m pipelines.demo.models.train_describer``.

Two stages. The vision tower first learns to tell motion and scene from single frames; then the projector and the
text part learn to describe 16 frames of trimmed clips and untrimmed videos, on features of the finished tower. Half
of the prompts name a class, and 4 of 10 of those a wrong one while the caption follows the pixels, so that the model
looks instead of copying. Seeds are disjoint from those of the demo's videos.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cache.tables.schema import Kind
from pipelines.demo.models import evaluate_describer
from pipelines.demo.models.card import write_card
from pipelines.demo.models.describer_model import FRAMES, build_model, build_processor
from pipelines.demo.models.describer_vision import TRAINING_SEEDS, any_script, encode_frames, patches, train_vision
from pipelines.demo.models.optimization import one_cycle
from pipelines.demo.world.captions import PHASE_WORDS, SCENE_WORDS, UNNAMED_PROMPTS, complete_caption, key_caption
from pipelines.demo.world.draw import draw_frames
from pipelines.demo.world.script import CLASSES, FPS, Script
from priors.pretrained.torchvision_cpu import make_torchvision_importable
from priors.run.prompts import render

CONTENT_WEIGHT = 6.0
"""Loss weight of the words that carry what is seen, against 1 for the frame of the sentence."""
POOL, PASSES, BATCH = 1600, 2, 32


@dataclass(frozen=True)
class Settings:
    """Options of the training."""

    output: Path = Path("pipelines/demo/checkpoints/describer")
    """Folder that receives weights, tokenizer, processor and card."""
    vision_steps: int = 1800
    """Steps of stage 1, of 256 frames each."""
    text_steps: int = 900
    """Steps of stage 2, of 32 videos each."""
    seed: int = 0
    """Seed of weights and sampling."""
    vision_from: Path | None = None
    """A file of vision weights to start stage 2 from, instead of stage 1."""


def sample_times(script: Script) -> np.ndarray:
    """Midpoints of FRAMES equal slices, at the frame grid: what the sampler of the priors stage shows the model."""
    midpoints = (np.arange(FRAMES) + 0.5) * script.seconds / FRAMES
    return np.floor(midpoints * FPS) / FPS


@dataclass(frozen=True)
class Example:
    """One description to learn: prompt, answer, and where its video's features stand in the pool."""

    video: int
    prompt: str
    answer: str


def draw_prompt(rng: np.random.Generator, kind: Kind, label: str, others: Sequence[str]) -> str:
    """A prompt for a description of `label`: half name no class; of the rest 4 in 10 name one that is not shown.

    Where a video shows several classes the prompt must name the right one.
    """
    if others:
        return render(kind, label)
    if rng.random() < 0.5:
        return UNNAMED_PROMPTS[kind]
    named = label if rng.random() < 0.6 else CLASSES[int(rng.integers(len(CLASSES)))]
    return render(kind, named)


def examples(scripts: Sequence[Script], rng: np.random.Generator) -> list[Example]:
    """A key and a complete description for each class of each script, in random order."""
    found = []
    for video, script in enumerate(scripts):
        for label, style in script.styles.items():
            others = [name for name in script.styles if name != label]
            answers: dict[Kind, str] = {"key": key_caption(script, label), "complete": complete_caption(label, style)}
            for kind, answer in answers.items():
                found.append(Example(video, draw_prompt(rng, kind, label, others), answer))
    return [found[index] for index in rng.permutation(len(found))]


@torch.inference_mode()
def pool_features(vision, processor, scripts: Sequence[Script]) -> Tensor:
    """Vision features of all scripts, (videos, FRAMES * 4, width)."""
    parts = []
    for script in scripts:
        pictures = np.stack(list(draw_frames(script, sample_times(script))))
        parts.append(encode_frames(vision, patches(processor, pictures)).flatten(0, 1))
    return torch.stack(parts).clone()


class Writer:
    """Turns examples into the model's inputs, as the processor does for real videos."""

    def __init__(self, processor) -> None:
        self.tokenizer = processor.tokenizer
        self.processor = processor
        content = " ".join([*PHASE_WORDS.values(), *SCENE_WORDS.values()]).split()
        common = {"a", "the", "to", "with", "on", "in"}
        ids = [self.tokenizer.convert_tokens_to_ids("Ġ" + word) for word in set(content) - common]
        self.weights = torch.ones(len(self.tokenizer))
        self.weights[torch.tensor(ids)] = CONTENT_WEIGHT

    def tokens(self, example: Example, times: np.ndarray) -> tuple[list[int], int]:
        """Token ids of the chat with its answer, and how many of the last ones are the answer."""
        message = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": example.prompt}]}]
        text = self.processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
        video = ",".join(f"Time {moment:.1f}s:" + 4 * "<|video_pad|>" for moment in times)
        prompt = self.tokenizer(text.replace("<|video_pad|>", video))["input_ids"]
        answer = self.tokenizer(example.answer + "<|im_end|>")["input_ids"]
        return prompt + answer, len(answer)

    def loss(self, model, batch: Sequence[Example], scripts: Sequence[Script], features: Tensor) -> Tensor:
        """Weighted cross-entropy of the answers."""
        rows = [self.tokens(example, sample_times(scripts[example.video])) for example in batch]
        longest = max(len(ids) for ids, _ in rows)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([ids + [pad] * (longest - len(ids)) for ids, _ in rows])
        place = torch.arange(longest)
        end = torch.tensor([len(ids) for ids, _ in rows])[:, None]
        answer = (place < end) & (place >= end - torch.tensor([[length] for _, length in rows]))
        seen = model.model.projector(features[[example.video for example in batch]])
        embedded = model.get_input_embeddings()(ids)
        embedded = embedded.masked_scatter((ids == model.config.video_token_id)[..., None], seen)
        hidden = model.model.language_model(inputs_embeds=embedded).last_hidden_state  # causal, padded on the right
        logits = model.lm_head(hidden[:, :-1][answer[:, 1:]])
        target = ids[:, 1:][answer[:, 1:]]
        weight = self.weights[target]
        return (F.cross_entropy(logits, target, reduction="none") * weight).sum() / weight.sum()


def train_text(model, processor, settings: Settings) -> None:
    """Stage 2: projector and text part, on pools of 1600 new scripts whose features are computed once."""
    vision, writer = model.model.vision_model.eval(), Writer(processor)
    parameters = [p for name, p in model.named_parameters() if not name.startswith("model.vision_model")]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01, betas=(0.9, 0.98))
    rng = np.random.default_rng([settings.seed, 9])
    seed, step, began, losses = TRAINING_SEEDS + 2**41, 0, time.monotonic(), []
    while step < settings.text_steps:
        scripts = [any_script(seed + index) for index in range(POOL)]
        seed += POOL
        features = pool_features(vision, processor, scripts)
        queue = [example for _ in range(PASSES) for example in examples(scripts, rng)]
        for start in range(0, len(queue) - BATCH + 1, BATCH):
            if step == settings.text_steps:
                break
            one_cycle(optimizer, step, settings.text_steps, 1.5e-3)
            loss = writer.loss(model, queue[start : start + BATCH], scripts, features)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
            step += 1
            if step % 50 == 0:
                print(f"text {step} loss {np.mean(losses[-50:]):.3f} {time.monotonic() - began:.0f} s", flush=True)


def save(model, processor, settings: Settings) -> None:
    """Write the checkpoint in half precision."""
    settings.output.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(settings.output)
    processor.save_pretrained(settings.output)


def main(settings: Settings) -> None:
    """Train both stages, save, and write the scores on held-out data."""
    make_torchvision_importable()
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    began = time.process_time()
    processor = build_processor()
    model = build_model(processor)
    stage = settings.vision_from or settings.output.with_suffix(".vision.safetensors")
    if settings.vision_from is None:
        figures = train_vision(model, processor, steps=settings.vision_steps, seed=settings.seed)
        figures["vision_minutes"] = (time.process_time() - began) / 60
        notes = {name: f"{value:.4f}" for name, value in figures.items()}
        save_file(model.model.vision_model.state_dict(), stage, metadata=notes)
    with safe_open(stage, "pt") as file:
        model.model.vision_model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        vision = {name: float(value) for name, value in file.metadata().items()}
    began = time.process_time()
    train_text(model, processor, settings)
    text_minutes = (time.process_time() - began) / 60
    save(model, processor, settings)
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "stage 1: steps of 256 frames": settings.vision_steps,
        "stage 2: steps of 32 videos": settings.text_steps,
        **vision,
        "text_minutes": text_minutes,
        **evaluate_describer.evaluate(evaluate_describer.Settings(model=settings.output)),
    }
    about = (
        "VideoLLaMA3 as transformers has it, trained from scratch by `pipelines/demo/models/train_describer.py` on "
        "pictures of the demo world alone, and of no use elsewhere. Minutes are of one core. The figures from "
        "`clips_` on are shares over 240 held-out trimmed clips and 80 held-out untrimmed videos, through H.264 and "
        "the code of the priors stage (`pipelines/demo/models/evaluate_describer.py`); `videos_` with the right class "
        "in the prompt."
    )
    write_card(settings.output, "The demo's video MLLM", about, facts)


if __name__ == "__main__":
    main(tyro.cli(Settings))
