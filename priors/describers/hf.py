"""HfDescriber: any video chat model that transformers has itself, through one code path."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from priors.describers.control_tokens import ControlTokens
from priors.describers.families import family_of, frame_size
from priors.describers.hf_loading import load
from priors.describers.options import GenerationRecipe
from priors.describers.protocol import Failure, Prepared, Reply, Request
from priors.describers.recipe import DescriberRecipe, refuse_conflicts
from priors.pretrained.model_files import model_id, resolve_revision
from priors.video.frames import Frames

_CLOCK = 1000  # processors count time in frames of a constant rate; timestamps are given as frames of 1 ms


@dataclass(frozen=True, eq=False)
class _Group:
    """Requests of a batch that are answered by one call of `generate`."""

    chosen: list[int]
    """Indices of the requests in the batch."""
    inputs: dict[str, Any]
    seeds: list[int]
    """One per request; empty without sampling."""
    again: bool


class HfDescriber:
    """A model loaded by AutoProcessor and AutoModelForImageTextToText; left-padded batches.

    Raises ModelError if the model cannot be found or loaded, or is no video chat model (no chat template, no video
    processor). Weights are read from safetensors only, and code of the model's repository is never run.
    """

    def __init__(self, recipe: DescriberRecipe) -> None:
        refuse_conflicts(recipe)
        self.recipe = recipe
        self.model_id = model_id(recipe.model)
        self.model_revision = resolve_revision(recipe.model, recipe.revision)
        self.processor, self.model = load(recipe, self.model_revision)
        self.family = family_of(self.model.config.model_type)
        self.tokenizer = self.processor.tokenizer
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self._control = ControlTokens(self.processor, self.model_id)
        self._decoder = copy.deepcopy(self.tokenizer)  # `prepare` sets the padding of the other one
        self._preparing = threading.Lock()
        self.ends: list[int] = sorted(
            _token_ids(self.model.generation_config.eos_token_id, self.tokenizer.eos_token_id)
        )
        """Tokens that end an answer."""
        if recipe.max_pixels is not None:
            frame_size(self.family, self.processor, recipe.max_pixels, 1)

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Inputs on the CPU, in groups of requests with the same number of frames (some families cannot mix them).

        A request whose prompt holds control tokens of the chat, or whose frames the processor refuses, becomes a
        Failure. Several threads may call this.
        """
        failures: dict[int, Failure] = {}
        kinds: dict[tuple[int, bool, int], list[int]] = {}
        with self._preparing:
            for index, request in enumerate(requests):
                if why := self._control.found_in(request.prompt):
                    failures[index] = Failure(why)
                else:
                    kinds.setdefault(self._kind(request), []).append(index)
            groups = [self._group(requests, chosen, failures) for _, chosen in sorted(kinds.items())]
        return Prepared(tuple(requests), (failures, [group for group in groups if group is not None]))

    def describe(self, prepared: Prepared) -> list[Reply | Failure]:
        """Generate answers, one group of requests after the other."""
        failures, groups = prepared.inputs
        replies: dict[int, Reply | Failure] = dict(failures)
        for group in groups:
            requests = [prepared.requests[index] for index in group.chosen]
            replies.update(zip(group.chosen, self._generate(requests, group), strict=True))
        return [replies[index] for index in range(len(prepared.requests))]

    def inputs(self, requests: Sequence[Request]) -> dict[str, Any]:
        """The model's inputs for requests with equally many frames: prompts, pixels and timestamps, on the CPU."""
        messages = [
            [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": request.prompt}]}]
            for request in requests
        ]
        texts = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        begin = self.tokenizer.bos_token
        options: dict[str, Any] = {"add_special_tokens": False} if begin and texts[0].startswith(begin) else {}
        if self.recipe.max_pixels is not None:
            frames = len(requests[0].frames.seconds)
            options["size"] = frame_size(self.family, self.processor, self.recipe.max_pixels, frames)
        inputs = self.processor(
            text=texts,
            videos=[[request.frames.rgb] for request in requests],
            video_metadata=[[_metadata(request.frames)] for request in requests],
            do_sample_frames=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            **options,
        )
        # Only pixels get the model's precision: times in bfloat16 would be off by half a second after two minutes.
        return {
            name: _to(value, self.model.dtype) if name.startswith("pixel_values") else value
            for name, value in inputs.items()
        }

    def text(self, tokens: list[int]) -> str:
        """New tokens as text, without the special ones."""
        return self._decoder.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()

    def _kind(self, request: Request) -> tuple[int, bool, int]:
        """What requests must have in common to be answered together. With beam search that includes the token limit,
        which affects the search."""
        beams = self._settings(request.again).beams
        return len(request.frames.seconds), request.again, request.max_new_tokens if beams > 1 else 0

    def _settings(self, again: bool) -> GenerationRecipe:
        return self.recipe.retry if again else self.recipe.generation

    def _group(self, requests: Sequence[Request], chosen: list[int], failures: dict[int, Failure]) -> _Group | None:
        """The group of these requests, without those that the processor refuses; these are added to `failures`."""
        try:
            inputs = self.inputs([requests[index] for index in chosen])
        except Exception as error:  # a processor may raise anything, and the other requests must not fail with it
            if len(chosen) == 1:
                failures[chosen[0]] = Failure(f"{type(error).__name__}: {error}"[:300])
                return None
            fit = [index for index in chosen if self._group(requests, [index], failures)]
            if len(fit) == len(chosen):
                raise
            return self._group(requests, fit, failures) if fit else None
        if too_long := self._too_long([requests[index] for index in chosen], inputs):
            failures.update({chosen[place]: failure for place, failure in too_long.items()})
            fit = [index for index in chosen if index not in failures]
            return self._group(requests, fit, failures) if fit else None
        again = requests[chosen[0]].again
        return _Group(chosen, inputs, self._seeds([requests[index] for index in chosen], again), again)

    def _too_long(self, requests: Sequence[Request], inputs: dict[str, Any]) -> dict[int, Failure]:
        """Requests that exceed the model's maximum position, beyond which its texts would be noise, by index."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        failures: dict[int, Failure] = {}
        for place, (request, tokens) in enumerate(zip(requests, inputs["attention_mask"].sum(dim=1), strict=True)):
            if limit is not None and int(tokens) + request.max_new_tokens > limit:
                failures[place] = Failure(
                    f"{int(tokens)} tokens with the frames, and up to {request.max_new_tokens} new ones, are more than "
                    f"the {limit} that {self.model_id} takes; lower frames.count"
                    f"{' or describer.max_pixels' if self.family.pixel_budget else ''}"
                )
        return failures

    def _seeds(self, requests: Sequence[Request], again: bool) -> list[int]:
        from priors.describers.token_choice import row_seed

        settings = self._settings(again)
        return [row_seed(settings, request) for request in requests] if settings.temperature > 0 else []

    def _generate(self, requests: Sequence[Request], group: _Group) -> list[Reply]:
        import torch

        from priors.describers.token_choice import processors

        settings = self._settings(group.again)
        length = group.inputs["input_ids"].shape[1]
        inputs = group.inputs
        if self.model.device.type != "meta":  # else the first layers wait on the CPU, and accelerate moves their input
            inputs = {name: _to(value, self.model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            output = self.model.generate(
                **inputs,
                do_sample=False,
                num_beams=settings.beams,
                max_new_tokens=max(request.max_new_tokens for request in requests),
                logits_processor=processors(settings, length, group.seeds),
                eos_token_id=self.ends or None,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        shown = group.inputs["attention_mask"].sum(dim=1).tolist()
        return [
            self._reply(tokens[: request.max_new_tokens], prompt_tokens)
            for request, tokens, prompt_tokens in zip(requests, output[:, length:].tolist(), shown, strict=True)
        ]

    def _reply(self, tokens: list[int], prompt_tokens: int) -> Reply:
        end = next((index for index, token in enumerate(tokens) if token in self.ends), None)
        tokens = tokens if end is None else tokens[: end + 1]
        return Reply(self.text(tokens), prompt_tokens, len(tokens), "length" if end is None else "eos")


def _metadata(frames: Frames) -> dict[str, Any]:
    return {
        "total_num_frames": max(1, round(frames.duration * _CLOCK)),
        "fps": float(_CLOCK),
        "duration": frames.duration,
        "width": frames.width,
        "height": frames.height,
        "frames_indices": [round(second * _CLOCK) for second in frames.seconds.tolist()],
    }


def _to(value: Any, target: Any) -> Any:
    return value.to(target) if hasattr(value, "to") else value  # some processors hand on plain numbers


def _token_ids(*values: int | list[int] | None) -> set[int]:
    ids: set[int] = set()
    for value in values:
        ids.update(value if isinstance(value, list) else [] if value is None else [value])
    return ids
