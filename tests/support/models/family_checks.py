"""What every family of video chat models is to fulfil; test_families.py and `make bench-families` both ask it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from priors.describers.hf import HfDescriber
from priors.describers.protocol import Request, answers
from priors.video.frames import Frames

TOKENS = 8
PROMPT = "Please describe the action of HighKick with one sentence."


def noise(seed: int, *, count: int = 4, height: int = 60, width: int = 80, duration: float = 10.0) -> Frames:
    """Frames of random pixels in the middles of equal slices of the duration."""
    rgb = np.random.default_rng(seed).integers(0, 255, (count, height, width, 3), dtype=np.uint8)
    return Frames(rgb, (np.arange(count) + 0.5) / count * duration, duration, width, height)


RAGGED = (
    Request(noise(0), PROMPT, TOKENS),
    Request(noise(1, height=90, width=40, duration=31.0), "Describe.", TOKENS),
    Request(noise(2, count=6, height=40, width=40, duration=5.5), "Describe the action in detail", 5),
    Request(noise(3, height=30, width=110), "a person runs, jumps and throws", 2 * TOKENS),
    Request(noise(4, duration=700.0), PROMPT, TOKENS, again=True),
)
"""Other sizes, lengths, numbers of frames, prompts, limits and settings, all in one batch."""

UNEVEN = Frames(noise(5).rgb, np.array([0.5, 1.9, 14.2, 17.0]), 20.0, 80, 60)
"""Of a video whose frame rate varies: the last frames before 2.5, 7.5, 12.5 and 17.5 s are not shown at even times."""


def batch_equals_single(describer: HfDescriber) -> None:
    """Whatever is beside it in a batch, and wherever it stands there, a request gets the same answer."""
    alone = [answers(describer, [request])[0] for request in RAGGED]
    assert answers(describer, RAGGED) == alone
    assert answers(describer, RAGGED[::-1]) == alone[::-1]
    assert len({reply.text for reply in alone}) == len(RAGGED)


def frames_matter(describer: HfDescriber) -> None:
    """Each frame reaches the model: other pixels in any of them, or another order, change what it expects next."""
    request = RAGGED[0]
    first = _logits(describer, request)
    assert np.array_equal(first, _logits(describer, request))
    for index in range(len(request.frames.rgb)):
        rgb = request.frames.rgb.copy()
        rgb[index] = 255 - rgb[index]
        changed = _logits(describer, replace(request, frames=replace(request.frames, rgb=rgb)))
        assert np.abs(first - changed).max() > 1e-3, f"frame {index} changes nothing"
    turned = replace(request.frames, rgb=request.frames.rgb[::-1].copy())
    assert np.abs(first - _logits(describer, replace(request, frames=turned))).max() > 1e-3
    assert np.abs(first - _logits(describer, replace(request, prompt=PROMPT.replace("High", "Low")))).max() > 1e-3


def exact_new_tokens(describer: HfDescriber) -> None:
    """The answer is what the model's own forward pass says, token by token, and nothing of the prompt.

    The checkpoints' generation_config asks for sampling and a repetition penalty, so this also says that neither comes
    through. An end token among the likely ones stops the answer and counts; the limit alone is `length`.
    """
    request = replace(RAGGED[0], max_new_tokens=5)
    tokens = _greedy(describer, request, 5)
    (reply,) = answers(describer, [request])
    ends = describer.ends
    stop = next((index for index, token in enumerate(tokens) if token in ends), None)
    expected = tokens if stop is None else tokens[: stop + 1]
    assert (reply.new_tokens, reply.finish_reason) == (len(expected), "length" if stop is None else "eos")
    assert reply.text == describer.text(expected)
    if stop is None:
        stop = tokens.index(tokens[2])
        reply = _with_end(describer, tokens[2], request)
        assert (reply.new_tokens, reply.finish_reason) == (stop + 1, "eos")
        assert reply.text == describer.text(tokens[: stop + 1])


def true_timestamps(describer: HfDescriber) -> None:
    """The model is told when the frames are shown in the file, also where they are not evenly spaced."""
    inputs = describer.inputs([Request(UNEVEN, "Describe.", 4)])
    text = describer.tokenizer.decode(inputs["input_ids"][0])
    if describer.family.name == "SmolVLM2":
        assert re.findall(r"Frame from (\d\d:\d\d)", text) == ["00:00", "00:01", "00:14", "00:17"]
        assert "from a 0:00:20 [H:MM:SS] video" in text
    elif describer.family.times == "frame":
        assert re.findall(r"Time ([\d.]+)s", text) == ["0.5", "1.9", "14.2", "17.0"]
    elif describer.family.times == "pair":
        assert re.findall(r"<([\d.]+) seconds>", text) == ["1.2", "15.6"]
    elif describer.family.times == "spacing":
        assert inputs["second_per_grid_ts"].tolist() == [2 * 20.0 / 4]
    else:
        assert not re.findall(r"\b(14|17)\b", text)


CHECKS: dict[str, Callable[[HfDescriber], None]] = {
    "batch equals single": batch_equals_single,
    "frames matter": frames_matter,
    "exact new tokens": exact_new_tokens,
    "true timestamps": true_timestamps,
}


def _logits(describer: HfDescriber, request: Request) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return describer.model(**describer.inputs([request])).logits[0, -1].float().numpy()


def _greedy(describer: HfDescriber, request: Request, count: int) -> list[int]:
    """The most likely tokens, each found by a pass over everything before it: no cache, and not by `generate`."""
    import torch

    inputs = describer.inputs([request])
    tokens: list[int] = []
    for _ in range(count):
        with torch.inference_mode():
            tokens.append(int(describer.model(**inputs).logits[0, -1].argmax()))
        for name, filling in (("input_ids", tokens[-1]), ("attention_mask", 1), ("mm_token_type_ids", 0)):
            if name in inputs:
                inputs[name] = torch.cat([inputs[name], torch.full_like(inputs[name][:, :1], filling)], dim=1)
    return tokens


def _with_end(describer: HfDescriber, token: int, request: Request):
    ends = describer.ends
    describer.ends = [token]
    try:
        # Beside one that is likely to go on: what is padded after the end must not be counted.
        return answers(describer, [request, replace(RAGGED[3], max_new_tokens=12)])[0]
    finally:
        describer.ends = ends
