"""Tiny random checkpoints of real video MLLM architectures, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from priors.torchvision_cpu import make_torchvision_importable

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
VIDEO_TOKEN = "<|video_pad|>"
TEXTS = [
    "This video contains the actions of HighKick. Please describe the action in detail with one sentence.",
    "Time 0.5s: 1.2 3.4 6.7 8.9 user assistant",
    "a person runs, jumps and throws; the athlete swings, climbs or falls",
]


def save_tiny(folder: Path, family: str, *, chat_template: bool = True, seed: int = 0) -> Path:
    """Make a checkpoint of `video_llama_3` or `qwen2_5_vl` in `folder`.

    Matrices are drawn from N(0, .3): with the usual .02 a random model's greedy text hardly depends on its input.
    """
    make_torchvision_importable()
    import torch

    tokenizer = _tokenizer()
    make = {"video_llama_3": _video_llama_3, "qwen2_5_vl": _qwen2_5_vl}[family]
    processor, model = make(tokenizer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    if chat_template:
        processor.chat_template = _chat_template(family)
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in [*SPECIAL, VIDEO_TOKEN]],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": VIDEO_TOKEN},
    )


def _chat_template(family: str) -> str:
    video = VIDEO_TOKEN if family == "video_llama_3" else f"<|vision_start|>{VIDEO_TOKEN}<|vision_end|>"
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
        "{% if part['type'] == 'video' %}" + video + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def _text_options(tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _video_llama_3(tokenizer: Any) -> tuple[Any, Any]:
    from transformers import (
        Qwen2Config,
        VideoLlama3Config,
        VideoLlama3ForConditionalGeneration,
        VideoLlama3ImageProcessor,
        VideoLlama3Processor,
        VideoLlama3VisionConfig,
    )
    from transformers.models.video_llama_3.video_processing_video_llama_3 import VideoLlama3VideoProcessor

    size = {"shortest_edge": 28 * 28, "longest_edge": 8 * 56 * 56}
    processor = VideoLlama3Processor(
        image_processor=VideoLlama3ImageProcessor(size=size),
        video_processor=VideoLlama3VideoProcessor(size=size),
        tokenizer=tokenizer,
    )
    config = VideoLlama3Config(
        text_config=Qwen2Config(**_text_options(tokenizer)),
        vision_config=VideoLlama3VisionConfig(
            hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, patch_size=14
        ),
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
    )
    return processor, VideoLlama3ForConditionalGeneration(config)


def _qwen2_5_vl(tokenizer: Any) -> tuple[Any, Any]:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        video_processor=Qwen2VLVideoProcessor(size=size),
        tokenizer=tokenizer,
    )
    token = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            **_text_options(tokenizer),
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 64,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token(VIDEO_TOKEN),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    return processor, Qwen2_5_VLForConditionalGeneration(config)
