"""Train the demo's two video encoders: ``python -m pipelines.demo.models.train_encoders``.

Two VideoMAE classifiers of snippets, one of pictures and one of optical flow, trained on trimmed clips as I3D is on
Kinetics. Their classes are elementary motions (the cores of the actions among them), as Kinetics' classes are not
those of the data set that its features serve. Clips come from seeds that no video of the demo has.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional as F

from pipelines.demo.models.card import write_card
from pipelines.demo.models.describer_vision import share_right
from pipelines.demo.models.optimization import one_cycle
from pipelines.demo.world.draw import draw_frames
from pipelines.demo.world.motions import MOTIONS
from pipelines.demo.world.script import FPS, Script, clip_script, video_script
from priors.features.flow import optical_flow
from priors.pretrained.torchvision_cpu import make_torchvision_importable

TRAINING_SEEDS, HELD_OUT_SEEDS = 20_000_000, 4_000_000
SNIPPET = 8
SIDE = 56
FLOW_BOUND = 6.0
"""Flow in pixels of the 112-pixel video that becomes 1."""
MOTION_INDEX = {name: index for index, name in enumerate(MOTIONS)}


@dataclass(frozen=True)
class Settings:
    """Options of the training."""

    output: Path = Path("pipelines/demo/checkpoints")
    """Folder that receives `rgb_encoder` and `flow_encoder`."""
    steps: int = 900
    """Steps of 64 snippets for each stream."""
    seed: int = 0
    """Seed of weights and sampling."""


def snippets(script: Script, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Random snippets of a script: pictures (n, 8, 56, 56, 3), flow (n, 8, 56, 56, 2), motion at the middle."""
    pictures, flows, motions = [], [], []
    for start in rng.uniform(0, max(0.0, script.seconds - (SNIPPET + 1) / FPS), count):
        times = start + np.arange(SNIPPET + 1) / FPS
        frames = np.stack(list(draw_frames(script, times)))
        flow = optical_flow(frames)
        pictures.append([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames[:-1]])
        flows.append([cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for field in flow])
        middle = times[SNIPPET // 2]
        motions.append(MOTION_INDEX[next((b.motion for b in script.beats if middle < b.end), script.beats[-1].motion)])
    return np.array(pictures, np.uint8), np.array(flows, np.float16), motions


def _pool(first: int, scripts: int, per_script: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Snippets of consecutive seeds; odd seeds are trimmed clips, even ones untrimmed videos."""
    cv2.setNumThreads(1)
    parts = []
    for seed in range(first, first + scripts):
        script = clip_script(seed) if seed % 2 else video_script(seed)
        parts.append(snippets(script, np.random.default_rng([seed, 11]), per_script))
    pictures, flows, motions = zip(*parts, strict=True)
    return np.concatenate(pictures), np.concatenate(flows), [motion for part in motions for motion in part]


def build(channels: int):
    """A VideoMAE classifier of about 0.3 M parameters, randomly initialised."""
    make_torchvision_importable()
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(
        image_size=SIDE, patch_size=14, num_channels=channels, num_frames=SNIPPET, tubelet_size=4,
        hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, use_mean_pooling=True,
        id2label=dict(enumerate(MOTIONS)), label2id=MOTION_INDEX,
    )  # fmt: skip
    return VideoMAEForVideoClassification(config)


def inputs(kind: str, pictures: np.ndarray, flows: np.ndarray) -> Tensor:
    """Normalised model input (n, 8, c, 56, 56), exactly as `priors.features.encode` makes it."""
    if kind == "flow":
        values = torch.from_numpy(flows.astype(np.float32)).clamp(-FLOW_BOUND, FLOW_BOUND) / FLOW_BOUND
    else:
        values = torch.from_numpy(pictures).float() / 127.5 - 1
    return values.movedim(-1, 2).contiguous()


def batches(settings: Settings) -> Iterator[tuple[np.ndarray, np.ndarray, Tensor]]:
    """Training snippets: pools of 6400 new ones, each passed through three times."""
    rng = np.random.default_rng(settings.seed)
    first = TRAINING_SEEDS
    with ProcessPoolExecutor(1) as painter:
        job = painter.submit(_pool, first, 1600, 4)
        while True:
            pictures, flows, motions = job.result()
            first += 1600
            job = painter.submit(_pool, first, 1600, 4)
            truth = torch.tensor(motions)
            for _ in range(3):
                for chosen in np.array_split(rng.permutation(len(truth)), len(truth) // 64):
                    yield pictures[chosen], flows[chosen], truth[chosen]


def train(settings: Settings) -> dict[str, dict[str, float]]:
    """Train both encoders on the same snippets and save them; returns the held-out accuracy of each."""
    torch.manual_seed(settings.seed)
    models = {"rgb": build(3), "flow": build(2)}
    optimizers = {kind: torch.optim.AdamW(model.parameters(), weight_decay=0.05) for kind, model in models.items()}
    right: dict[str, list[float]] = {kind: [] for kind in models}
    began = time.monotonic()
    for step, (pictures, flows, truth) in zip(range(settings.steps), batches(settings), strict=False):
        for kind, model in models.items():
            one_cycle(optimizers[kind], step, settings.steps, 1.5e-3)
            logits = model(pixel_values=inputs(kind, pictures, flows)).logits
            loss = F.cross_entropy(logits, truth, label_smoothing=0.05)
            optimizers[kind].zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizers[kind].step()
            right[kind].append(share_right(logits, truth))
        if step % 50 == 49:
            shown = ", ".join(f"{kind} {np.mean(values[-50:]):.3f}" for kind, values in right.items())
            print(f"step {step + 1}: {shown}, {time.monotonic() - began:.0f} s", flush=True)
    scores = evaluate(models)
    for kind, model in models.items():
        save(kind, model, settings, scores[kind], time.monotonic() - began)
    return scores


def evaluate(models: dict) -> dict[str, dict[str, float]]:
    """Accuracy on 1600 snippets of held-out scripts."""
    pictures, flows, motions = _pool(HELD_OUT_SEEDS, 400, 4)
    truth = torch.tensor(motions)
    scores = {}
    for kind, model in models.items():
        with torch.inference_mode():
            logits = model.eval()(pixel_values=inputs(kind, pictures, flows)).logits
        scores[kind] = {"held_out_motion_accuracy": share_right(logits, truth)}
    return scores


def save(kind: str, model, settings: Settings, scores: dict[str, float], seconds: float) -> None:
    """Write the checkpoint in half precision, its preprocessing and its card."""
    from transformers import VideoMAEImageProcessor

    folder = settings.output / f"{kind}_encoder"
    model.half().save_pretrained(folder)
    if kind == "rgb":
        size = {"height": SIDE, "width": SIDE}
        half = [0.5, 0.5, 0.5]
        VideoMAEImageProcessor(size=size, crop_size=size, image_mean=half, image_std=half).save_pretrained(folder)
    about = (
        "VideoMAE of native transformers code, trained from scratch by `pipelines/demo/models/train_encoders.py` "
        "to tell the elementary motions of the demo world from "
        f"{SNIPPET} frames of {'pictures' if kind == 'rgb' else 'flow'}, and of no use elsewhere. Its penultimate "
        "features are one stream of the demo's snippet features. Accuracy is "
        "over 1600 held-out snippets of 17 motions, idle ones and those at cuts between motions included."
    )
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "steps of 64 snippets": settings.steps,
        "minutes of training, both streams": seconds / 60,
        **scores,
    }
    write_card(folder, f"The demo's video encoder: {kind}", about, facts)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(train(tyro.cli(Settings)))
