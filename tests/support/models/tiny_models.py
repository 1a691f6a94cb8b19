"""Tiny random checkpoints of real video MLLM architectures, saved as transformers saves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from priors.pretrained.torchvision_cpu import make_torchvision_importable

TEXTS = [
    "This video contains the actions of HighKick. Please describe the action in detail with one sentence.",
    "Time 0.5s: 1.2 3.4 6.7 8.9 user assistant USER ASSISTANT Frame1: Frame from 00:01:",
    "a person runs, jumps and throws; the athlete swings, climbs or falls",
]
CHATML = (
    "{{% for message in messages %}}<|im_start|>{{{{ message['role'] }}}}\n{{% for part in message['content'] %}}"
    "{{% if part['type'] == 'video' %}}{video}{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}<|im_end|>\n"
    "{{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
)
VICUNA = (
    "{{% for message in messages %}}{{{{ message['role'] | upper }}}}: {{% for part in message['content'] %}}"
    "{{% if part['type'] == 'video' %}}{video}\n{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}"
    "{{% endfor %}}{{% if add_generation_prompt %}} ASSISTANT:{{% endif %}}"
)


@dataclass(frozen=True)
class Words:
    """The special tokens of a family, and what its chat looks like."""

    special: Sequence[str]
    video: str
    """What stands for the video in a chat."""
    end: str = "<|im_end|>"
    pad: str = "<|endoftext|>"
    begin: str | None = None
    """Begin of sequence, which such a tokenizer adds by itself."""
    named: dict[str, str] = field(default_factory=dict)
    """Special tokens that the processor asks the tokenizer for by name."""
    template: str = CHATML


_CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_QWEN = Words(
    [*_CHATML, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
    video="<|vision_start|><|video_pad|><|vision_end|>",
    named={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
)
_VICUNA = Words(
    ["<unk>", "<s>", "</s>", "<pad>", "<image>", "<video>"],
    video="<video>",
    end="</s>",
    pad="<pad>",
    begin="<s>",
    named={"image_token": "<image>", "video_token": "<video>"},
    template=VICUNA,
)
WORDS = {
    "video_llama_3": Words(_QWEN.special, video="<|video_pad|>", named=_QWEN.named),
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": Words(_QWEN.special, video="<|video_pad|>", named=_QWEN.named),
    "llava_onevision": Words(
        [*_CHATML, "<image>", "<video>"],
        video="<video>\n",
        named={"image_token": "<image>", "video_token": "<video>"},
    ),
    "llava_next_video": _VICUNA,
    "video_llava": _VICUNA,
    "smolvlm": Words(
        ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"],
        video="<video>",
        end="<end_of_utterance>",
        named={
            "fake_image_token": "<fake_token_around_image>",
            "image_token": "<image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
    ),
    "internvl": Words(
        [*_CHATML, "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
        video="<video>\n",
        named={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
}
"""The eight families of docs/mllms.md, and Qwen2-VL."""


def save_tiny(folder: Path, family: str, *, chat_template: bool = True, seed: int = 0) -> Path:
    """Make a checkpoint of one of WORDS' families in `folder`.

    Matrices are drawn from N(0, .3): with the usual .02 a random model's greedy text hardly depends on its input. Like
    those of the hub, its generation_config asks for sampling, and more loudly for no repetition.
    """
    make_torchvision_importable()
    import torch

    from tests.support.models.tiny_families import BUILDERS

    words = WORDS[family]
    tokenizer = _tokenizer(words)
    processor, model = BUILDERS[family](tokenizer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    settings = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 9.0}
    model.generation_config.update(
        **settings, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_length=64
    )
    processor.chat_template = words.template.format(video=words.video) if chat_template else None
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _tokenizer(words: Words) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in words.special],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if words.begin is not None:
        begin = (words.begin, tokenizer.token_to_id(words.begin))
        tokenizer.post_processor = processors.TemplateProcessing(f"{words.begin} $A", special_tokens=[begin])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=words.begin,
        eos_token=words.end,
        pad_token=words.pad,
        extra_special_tokens=words.named,
    )
