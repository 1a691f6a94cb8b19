"""Stage 1 of the describer's training: its vision tower learns to tell motion and scene from single frames."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipelines.demo.models.describer_model import FRAMES
from pipelines.demo.models.optimization import one_cycle
from pipelines.demo.world.draw import draw_frames
from pipelines.demo.world.motions import MOTIONS
from pipelines.demo.world.script import SCENES, Script, clip_script, video_script

TRAINING_SEEDS = 10_000_000
"""First seed of the training scripts; the demo's own videos and the held-out clips stay below it."""
MOTION_INDEX = {name: index for index, name in enumerate(MOTIONS)}
SCENE_INDEX = {name: index for index, name in enumerate(SCENES)}


def any_script(seed: int) -> Script:
    """A trimmed clip or an untrimmed video, half and half."""
    return clip_script(seed) if seed % 2 else video_script(seed)


def frame_batches(seed: int, *, size: int, per_script: int = 8) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Frames (n, h, w, 3) with the index of the motion and of the scene that each shows."""
    rng = np.random.default_rng([seed, 7])
    while True:
        pictures, motions, scenes = [], [], []
        while len(pictures) < size:
            script = any_script(TRAINING_SEEDS + int(rng.integers(2**40)))
            times = np.sort(rng.uniform(0, script.seconds - 0.05, per_script))
            pictures += draw_frames(script, times)
            for moment in times:
                motions.append(MOTION_INDEX[next(b.motion for b in script.beats if moment < b.end)])
                scenes.append(SCENE_INDEX[next(s.scene for s in script.shots if moment < s.end)])
        yield np.stack(pictures), torch.tensor(motions), torch.tensor(scenes)


def patches(processor, pictures: np.ndarray) -> Tensor:
    """Processor output for frames (f, h, w, 3): (f * 16, 588) normalised patches in its merge order."""
    videos = list(pictures.reshape(-1, FRAMES, *pictures.shape[1:]))
    return processor.video_processor(videos=videos, return_metadata=False, return_tensors="pt")["pixel_values_videos"]


def encode_frames(vision, pixels: Tensor) -> Tensor:
    """The vision tower on equal frames at once: (f * 16, 588) patches -> (f, 4, width), equal to its own forward.

    The tower attends within each frame, and its forward calls attention frame by frame, which takes most of the time
    of so small a model. Here the frames are one batch axis.
    """
    from transformers.models.video_llama_3.modeling_video_llama_3 import rotate_half

    hidden = vision.embeddings(pixels).unflatten(0, (-1, 16))
    inner = torch.tensor([(y, x) for y in (0, 1) for x in (0, 1)])
    positions = torch.cat([2 * block + inner for block in inner])  # (16, 2) rows and columns in the merge order
    cos, sin = vision.rotary_pos_emb(hidden, positions)

    def heads(project: nn.Linear, normed: Tensor) -> Tensor:
        return project(normed).unflatten(-1, (vision.config.num_attention_heads, -1)).transpose(1, 2)

    for layer in vision.encoder.layers:
        attention, normed = layer.self_attn, layer.layer_norm1(hidden)
        query, key = heads(attention.q_proj, normed), heads(attention.k_proj, normed)
        query, key = (part * cos + rotate_half(part) * sin for part in (query, key))
        value = heads(attention.v_proj, normed)
        mixed = F.scaled_dot_product_attention(query, key, value)
        hidden = hidden + attention.out_proj(mixed.transpose(1, 2).flatten(2))
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    return vision.post_layernorm(hidden).unflatten(1, (4, 4)).mean(2)


def share_right(logits: Tensor, truth: Tensor) -> float:
    """Share of rows whose largest logit is the true one."""
    return float((logits.argmax(1) == truth).double().mean())


def train_vision(model, processor, *, steps: int, seed: int) -> dict[str, float]:
    """Stage 1: motion and scene of single frames; returns the accuracy on the last batches, all of them new frames."""
    vision = model.model.vision_model
    width = vision.config.hidden_size
    motion_head, scene_head = nn.Linear(4 * width, len(MOTIONS)), nn.Linear(4 * width, len(SCENES))
    parameters = [*vision.parameters(), *motion_head.parameters(), *scene_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.02)
    right: list[tuple[float, float]] = []
    began = time.monotonic()
    for step, (pictures, motions, scenes) in zip(range(steps), frame_batches(seed, size=256), strict=False):
        one_cycle(optimizer, step, steps, 1.5e-3)
        seen = encode_frames(vision, patches(processor, pictures)).flatten(1)
        motion_logits, scene_logits = motion_head(seen), scene_head(seen)
        loss = F.cross_entropy(motion_logits, motions) + 0.3 * F.cross_entropy(scene_logits, scenes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        right.append((share_right(motion_logits, motions), share_right(scene_logits, scenes)))
        if step % 50 == 49:
            motion, scene = np.mean(right[-50:], axis=0)
            print(
                f"vision {step + 1} motion {motion:.3f} scene {scene:.3f} {time.monotonic() - began:.0f} s", flush=True
            )
    motion, scene = np.mean(right[-20:], axis=0)
    return {"frame_motion": float(motion), "frame_scene": float(scene)}
