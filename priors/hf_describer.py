"""HfDescriber: any video chat model that transformers loads by itself, through one code path."""

from __future__ import annotations

import copy
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

from priors.describer import DescriberRecipe, Failure, Prepared, Reply, Request, resolve_dtype
from priors.frames import Frames
from priors.model_files import ModelError, is_folder, model_id, resolve_revision
from priors.torchvision_cpu import make_torchvision_importable

PixelBudget = Literal["frame", "video"]

_PIXEL_BUDGETS: dict[str, PixelBudget] = {
    "qwen2_vl": "frame",
    "qwen2_5_vl": "frame",
    "qwen3_vl": "video",
    "qwen3_vl_moe": "video",
    "video_llama_3": "video",
}
"""All that differs between families: what the processor's `longest_edge` bounds. Those not listed have a fixed size."""

_CLOCK = 1000  # processors count time in frames of a constant rate; true timestamps are put as frames of 1 ms


class HfDescriber:
    """A transformers model behind AutoProcessor and AutoModelForImageTextToText: greedy, left-padded, batched.

    Raises ModelError if the model cannot be found or loaded, or is no video chat model (no chat template, no video
    processor). Weights are read from safetensors only, and code of the model's repository never runs.
    """

    def __init__(self, recipe: DescriberRecipe) -> None:
        self.recipe = recipe
        self.model_id = model_id(recipe.model)
        self.model_revision = resolve_revision(recipe.model, recipe.revision)
        self._processor, self._model = _load(recipe, self.model_revision)
        self._tokenizer = self._processor.tokenizer
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._decoder = copy.deepcopy(self._tokenizer)  # `prepare` changes the padding of the other while we decode
        self._ends = _token_ids(self._model.generation_config.eos_token_id, self._tokenizer.eos_token_id)
        self._control = _control_tokens(self._tokenizer)

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Inputs of those with equally many frames in one batch (some families cannot mix them).

        A prompt that holds control tokens or control characters of the chat becomes a Failure.
        """
        failures = {index: Failure(why) for index, request in enumerate(requests) if (why := self._odd(request.prompt))}
        groups = []
        for count in sorted({len(request.frames.seconds) for request in requests}):
            chosen = [i for i, one in enumerate(requests) if len(one.frames.seconds) == count and i not in failures]
            if chosen:
                groups.append((chosen, self.inputs([requests[i] for i in chosen])))
        return Prepared(tuple(requests), (failures, groups))

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """Generate, a group of equally shaped requests at a time."""
        failures, groups = prepared.inputs
        replies: dict[int, Reply | Failure] = dict(failures)
        for chosen, inputs in groups:
            requests = [prepared.requests[i] for i in chosen]
            replies.update(zip(chosen, self._generate(requests, inputs), strict=True))
        return [replies[index] for index in range(len(prepared.requests))]

    def inputs(self, requests: Sequence[Request]) -> Any:
        """The model's inputs for requests with equally many frames: prompts, pixels and true timestamps."""
        messages = [
            [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": request.prompt}]}]
            for request in requests
        ]
        texts = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        begin = self._tokenizer.bos_token
        options: dict[str, Any] = {"add_special_tokens": False} if begin and texts[0].startswith(begin) else {}
        if self.recipe.max_pixels is not None:
            options["size"] = self._size(self.recipe.max_pixels, len(requests[0].frames.seconds))
        return self._processor(
            text=texts,
            videos=[[request.frames.rgb] for request in requests],
            video_metadata=[[_metadata(request.frames)] for request in requests],
            do_sample_frames=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            **options,
        )

    def _generate(self, requests: Sequence[Request], inputs: Any) -> list[Reply]:
        import torch

        inputs = copy.copy(inputs).to(self._model.device, dtype=self._model.dtype)
        with torch.inference_mode():
            output = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=max(request.max_new_tokens for request in requests),
                pad_token_id=self._tokenizer.pad_token_id,
            )
        new = output[:, inputs["input_ids"].shape[1] :].tolist()
        shown = inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._reply(tokens[: request.max_new_tokens], prompt_tokens)
            for request, tokens, prompt_tokens in zip(requests, new, shown, strict=True)
        ]

    def _reply(self, tokens: list[int], prompt_tokens: int) -> Reply:
        end = next((index for index, token in enumerate(tokens) if token in self._ends), None)
        tokens = tokens if end is None else tokens[: end + 1]
        text = self._decoder.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(text.strip(), prompt_tokens, len(tokens), "length" if end is None else "eos")

    def _odd(self, prompt: str) -> str | None:
        for token in self._control:
            if token in prompt:
                return f"the prompt holds {token!r}, a control token of {self.model_id}; rename the class"
        if odd := [sign for sign in prompt if unicodedata.category(sign) == "Cc"]:
            return f"the prompt holds the control character {odd[0]!r}; rename the class"
        return None

    def _size(self, max_pixels: int, frames: int) -> dict[str, int]:
        family = self._model.config.model_type
        if family not in _PIXEL_BUDGETS:
            known = ", ".join(sorted(_PIXEL_BUDGETS))
            raise ModelError(f"describer.max_pixels: frames of {family} have a fixed size; it works for {known}")
        longest = max_pixels * (frames if _PIXEL_BUDGETS[family] == "video" else 1)
        shortest = min(self._processor.video_processor.size["shortest_edge"], longest)
        return {"shortest_edge": shortest, "longest_edge": longest}


def _load(recipe: DescriberRecipe, revision: str) -> tuple[Any, Any]:
    make_torchvision_importable()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    # A folder's revision is a hash, which from_pretrained knows nothing of.
    commit = {} if is_folder(recipe.model) else {"revision": revision}
    try:
        processor = AutoProcessor.from_pretrained(recipe.model, trust_remote_code=False, **commit)
        if getattr(processor, "video_processor", None) is None:
            raise ModelError(f"describer.model: {recipe.model} takes no videos")
        if getattr(processor, "chat_template", None) is None:
            raise ModelError(
                f"describer.model: {recipe.model} has no chat template, so a video and a question cannot be put to it; "
                "choose a video chat model (VideoLLaMA3, Qwen2.5-VL, Qwen3-VL, LLaVA-OneVision, SmolVLM2, InternVL ...)"
            )
        model = AutoModelForImageTextToText.from_pretrained(
            recipe.model,
            dtype=getattr(torch, resolve_dtype(recipe.dtype)),
            attn_implementation=recipe.attention,
            device_map=recipe.device_map,
            use_safetensors=True,
            trust_remote_code=False,
            **commit,
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise ModelError(f"describer.model: {recipe.model} cannot be loaded: {error}") from error
    return processor, model.eval()


def _metadata(frames: Frames) -> dict[str, Any]:
    return {
        "total_num_frames": max(1, round(frames.duration * _CLOCK)),
        "fps": float(_CLOCK),
        "duration": frames.duration,
        "width": frames.width,
        "height": frames.height,
        "frames_indices": [round(second * _CLOCK) for second in frames.seconds.tolist()],
    }


def _token_ids(*values: int | list[int] | None) -> set[int]:
    found: set[int] = set()
    for value in values:
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return found


def _control_tokens(tokenizer: Any) -> list[str]:
    added = tokenizer.added_tokens_decoder.values()
    framed = [token.content for token in added if token.special or token.content.startswith("<")]
    return sorted({*framed, *tokenizer.all_special_tokens} - {""})
