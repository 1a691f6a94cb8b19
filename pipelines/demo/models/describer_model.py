"""The demo's video MLLM before training: a VideoLLaMA3 of about a million parameters, its tokenizer and processor.

Everything is a native transformers class, saved with ``save_pretrained``, so that the checkpoint loads through the
same Auto classes as the 2B and 7B models of the family.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.demo.world.captions import (
    APPROACH_WORDS,
    CORE_WORDS,
    RECOVERY_WORDS,
    SCENE_WORDS,
    UNNAMED_PROMPTS,
    complete_caption,
)
from pipelines.demo.world.script import CLASSES, SCENES, Style
from priors.run.prompts import render

if TYPE_CHECKING:
    from transformers import VideoLlama3ForConditionalGeneration, VideoLlama3Processor

FRAMES = 16
FRAME_SIDE = 56
PATCH = 14
IMAGENET_STANDARD = [0.5, 0.5, 0.5]
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|video_pad|>"
    "{% elif part['type'] == 'image' %}<|image_pad|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _corpus() -> Iterable[str]:
    """Every kind of text that the model reads or writes."""
    for label in CLASSES:
        for kind in ("key", "complete"):
            yield render(kind, label)
        yield from (f"The athlete {CORE_WORDS[label]} {where}." for where in SCENE_WORDS.values())
        for approach in APPROACH_WORDS:
            for recovery in RECOVERY_WORDS:
                yield complete_caption(label, Style(approach, recovery))
    yield from UNNAMED_PROMPTS.values()
    yield from ("user\n", "assistant\n", *SCENES)
    for tenths in range(1000):
        yield f"Time {tenths / 10:.1f}s:,Time"


def build_processor() -> "VideoLlama3Processor":
    """The processor: a byte-level BPE in which each word of the corpus, and each part of a time stamp, is one token."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, VideoLlama3ImageProcessor, VideoLlama3Processor
    from transformers.models.video_llama_3.video_processing_video_llama_3 import VideoLlama3VideoProcessor

    tokenizer = Tokenizer(models.BPE())
    words = Regex(r",Time|s:| ?[A-Za-z]+|\.\d| ?\d{1,2}|\s|[^\sA-Za-z\d]")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,  # an upper bound: training stops when every word is one token
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    frame = FRAME_SIDE * FRAME_SIDE
    size = {"shortest_edge": frame, "longest_edge": frame * FRAMES}  # the upper bound is per video, not per frame
    common = {"patch_size": PATCH, "merge_size": 2, "image_mean": IMAGENET_STANDARD, "image_std": IMAGENET_STANDARD}
    return VideoLlama3Processor(
        image_processor=VideoLlama3ImageProcessor(**common, size={"shortest_edge": frame, "longest_edge": frame}),
        video_processor=VideoLlama3VideoProcessor(
            **common, size=size, use_token_compression=False, do_sample_frames=False
        ),
        tokenizer=fast,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: "VideoLlama3Processor") -> "VideoLlama3ForConditionalGeneration":
    """The network with random weights: vision 96 wide x 3 layers, text 128 wide x 4 layers."""
    from transformers import (
        Qwen2Config,
        VideoLlama3Config,
        VideoLlama3ForConditionalGeneration,
        VideoLlama3VisionConfig,
    )

    tokenizer = processor.tokenizer
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = VideoLlama3VisionConfig(
        hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4, patch_size=PATCH
    )
    config = VideoLlama3Config(
        text_config=text,
        vision_config=vision,
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
        tie_word_embeddings=True,
    )
    model = VideoLlama3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
