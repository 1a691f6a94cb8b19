"""Processor and model of each family at a size that a test can afford: two layers, pictures of 28 to 64 pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers as hf

_VISION: dict[str, Any] = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def _text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        **more,
    }


def _video_llama_3(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"shortest_edge": 28 * 28, "longest_edge": 8 * 56 * 56}
    processor = hf.VideoLlama3Processor(
        image_processor=hf.VideoLlama3ImageProcessor(size=size),
        video_processor=hf.VideoLlama3VideoProcessor(size=size),
        tokenizer=tokenizer,
    )
    config = hf.VideoLlama3Config(
        text_config=hf.Qwen2Config(**_text(tokenizer)),
        vision_config=hf.VideoLlama3VisionConfig(**_VISION, patch_size=14),
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
    )
    return processor, hf.VideoLlama3ForConditionalGeneration(config)


def _qwen_ids(tokenizer: Any) -> dict[str, Any]:
    names = {"image_token_id": "image_pad", "video_token_id": "video_pad"}
    names |= {"vision_start_token_id": "vision_start", "vision_end_token_id": "vision_end"}
    return {name: tokenizer.convert_tokens_to_ids(f"<|{token}|>") for name, token in names.items()}


def _qwen2_vl(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor = hf.Qwen2VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=size),
        video_processor=hf.Qwen2VLVideoProcessor(size=size),
        tokenizer=tokenizer,
    )
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = hf.Qwen2VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope),
        vision_config={"depth": 2, "embed_dim": 48, "mlp_ratio": 2, "num_heads": 4, "hidden_size": 64},
        **_qwen_ids(tokenizer),
    )
    return processor, hf.Qwen2VLForConditionalGeneration(config)


def _qwen2_5_vl(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=size),
        video_processor=hf.Qwen2VLVideoProcessor(size=size),
        tokenizer=tokenizer,
    )
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    vision = {"depth": 2, "hidden_size": 48, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 64}
    config = hf.Qwen2_5_VLConfig(
        text_config=_text(tokenizer, rope_parameters=rope),
        vision_config={**vision, "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]},
        **_qwen_ids(tokenizer),
    )
    return processor, hf.Qwen2_5_VLForConditionalGeneration(config)


def _qwen3_vl(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"shortest_edge": 2 * 32 * 32, "longest_edge": 8 * 64 * 64}
    processor = hf.Qwen3VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(size=size, patch_size=16),
        video_processor=hf.Qwen3VLVideoProcessor(size=size),
        tokenizer=tokenizer,
    )
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "mrope_interleaved": True, "rope_theta": 10000.0}
    vision = {"depth": 2, "hidden_size": 48, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 64}
    config = hf.Qwen3VLConfig(
        text_config=_text(tokenizer, head_dim=16, rope_parameters=rope),
        vision_config={**vision, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]},
        **_qwen_ids(tokenizer),
    )
    return processor, hf.Qwen3VLForConditionalGeneration(config)


def _llava_onevision(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"height": 56, "width": 56}
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=[[56, 56]]),
        video_processor=hf.LlavaOnevisionVideoProcessor(size=size),
        tokenizer=tokenizer,
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )
    config = hf.LlavaOnevisionConfig(
        text_config=hf.Qwen2Config(**_text(tokenizer)),
        vision_config=hf.SiglipVisionConfig(**_VISION, patch_size=14, image_size=56, vision_use_head=False),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=[[56, 56]],
    )
    return processor, hf.LlavaOnevisionForConditionalGeneration(config)


def _llava_next_video(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"shortest_edge": 56}
    crop: Any = {"height": 56, "width": 56}
    processor = hf.LlavaNextVideoProcessor(
        image_processor=hf.LlavaNextImageProcessor(size=size, crop_size=crop, image_grid_pinpoints=[[56, 56]]),
        video_processor=hf.LlavaNextVideoVideoProcessor(size=size, crop_size=crop),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    config = hf.LlavaNextVideoConfig(
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        vision_config=hf.CLIPVisionConfig(**_VISION, patch_size=14, image_size=56),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=[[56, 56]],
        vision_feature_layer=-1,
    )
    return processor, hf.LlavaNextVideoForConditionalGeneration(config)


def _video_llava(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"shortest_edge": 28}
    crop: Any = {"height": 28, "width": 28}
    processor = hf.VideoLlavaProcessor(
        image_processor=hf.VideoLlavaImageProcessor(size=size, crop_size=crop),
        video_processor=hf.VideoLlavaVideoProcessor(size=size, crop_size=crop),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
    )
    config = hf.VideoLlavaConfig(
        text_config=hf.LlamaConfig(**_text(tokenizer)),
        vision_config=hf.CLIPVisionConfig(**_VISION, patch_size=14, image_size=28),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        vision_feature_layer=-1,
    )
    return processor, hf.VideoLlavaForConditionalGeneration(config)


def _smolvlm(tokenizer: Any) -> tuple[Any, Any]:
    edges: dict[str, Any] = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    processor = hf.SmolVLMProcessor(
        image_processor=hf.SmolVLMImageProcessor(**edges),
        video_processor=hf.SmolVLMVideoProcessor(**edges),
        tokenizer=tokenizer,
        image_seq_len=4,
    )
    config = hf.SmolVLMConfig(
        text_config=_text(tokenizer, model_type="llama"),
        vision_config={**_VISION, "image_size": 32, "patch_size": 8},
        image_token_id=processor.image_token_id,
        scale_factor=2,
    )
    return processor, hf.SmolVLMForConditionalGeneration(config)


def _internvl(tokenizer: Any) -> tuple[Any, Any]:
    size: Any = {"height": 28, "width": 28}
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(size=size),
        video_processor=hf.InternVLVideoProcessor(size=size),
        tokenizer=tokenizer,
        image_seq_length=1,
    )
    config = hf.InternVLConfig(
        text_config=hf.Qwen2Config(**_text(tokenizer)),
        vision_config=hf.InternVLVisionConfig(**_VISION, patch_size=14, image_size=28),
        image_token_id=processor.image_token_id,
        image_seq_length=1,
    )
    return processor, hf.InternVLForConditionalGeneration(config)


BUILDERS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "video_llama_3": _video_llama_3,
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "llava_onevision": _llava_onevision,
    "llava_next_video": _llava_next_video,
    "video_llava": _video_llava,
    "smolvlm": _smolvlm,
    "internvl": _internvl,
}
