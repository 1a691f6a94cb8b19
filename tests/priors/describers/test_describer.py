"""Describers: what a recipe means, which models are refused and how, and how tokens are chosen."""

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer

from priors.describers.canned import CannedDescriber
from priors.describers.choice import make_describer
from priors.describers.control_tokens import ControlTokens
from priors.describers.hf import HfDescriber
from priors.describers.hf_loading import quantization_config
from priors.describers.options import GenerationRecipe, ServerRecipe
from priors.describers.protocol import Failure, Request, answers
from priors.describers.recipe import DescriberRecipe, resolve_dtype, text_settings
from priors.pretrained.model_files import ModelError, model_id, resolve_revision
from priors.run.recipe import DescriptionRecipe, PromptsRecipe
from priors.video.frames import FramesRecipe
from tests.support.models.family_checks import PROMPT, RAGGED, noise
from tests.support.models.tiny_models import save_tiny


@pytest.fixture(scope="module")
def describer(tiny_model) -> HfDescriber:
    """A tiny random model."""
    return HfDescriber(DescriberRecipe(model=str(tiny_model("qwen2_5_vl"))))


def test_a_smaller_limit_gives_the_beginning_of_the_same_answer(describer):
    """Beside a larger one in the same batch: what goes beyond a request's own limit is not its answer."""
    request = replace(RAGGED[0], max_new_tokens=12)
    long, short = answers(describer, [request, replace(request, max_new_tokens=5)])
    assert (long.new_tokens, long.finish_reason) == (12, "length")
    assert (short.new_tokens, short.finish_reason) == (5, "length")
    assert long.prompt_tokens == short.prompt_tokens
    assert (long.prompt_tokens or 0) > 12
    assert long.text.startswith(short.text.rstrip("\ufffd "))


def test_a_model_that_ends_by_itself_is_not_cut(describer, tmp_path):
    """The end token counts, what is padded after it does not, and a neighbour that goes on changes nothing."""
    folder = shutil.copytree(describer.recipe.model, tmp_path / "ends")
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": list(range(7, 60))}))
    ending = HfDescriber(DescriberRecipe(model=str(folder)))
    requests = [Request(noise(seed), "Describe.", 40) for seed in range(6)]
    replies = answers(ending, requests)
    assert {reply.finish_reason for reply in replies if (reply.new_tokens or 0) < 40} == {"eos"}
    assert len({reply.new_tokens for reply in replies}) > 1
    assert replies == [answers(ending, [request])[0] for request in requests]


@pytest.mark.parametrize("special", [False, True])
def test_reasoning_is_cut_off(describer, tmp_path, special):
    """Its tags are words to some tokenizers and special tokens to others."""
    folder = shutil.copytree(describer.recipe.model, tmp_path / "thinks")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tags = [AddedToken(tag, special=special, normalized=False) for tag in ("<think>", "</think>")]
    tokenizer.add_tokens(tags, special_tokens=special)
    tokenizer.save_pretrained(folder)
    thinking = HfDescriber(DescriberRecipe(model=str(folder)))
    for said in ("<think>a person runs</think>a person throws<|im_end|>", "a person runs</think>\na person throws"):
        assert thinking.text(thinking.tokenizer(said, add_special_tokens=False)["input_ids"]) == "a person throws"


def test_a_template_that_begins_the_reasoning(describer, tmp_path):
    """An answer that is cut before the end of it holds no tag at all, and is no description."""
    folder = shutil.copytree(describer.recipe.model, tmp_path / "begins")
    template = folder / "chat_template.jinja"
    begun = template.read_text().replace("assistant\n", "assistant\n<think>\n")
    assert begun != template.read_text()
    template.write_text(begun)
    thinking = HfDescriber(DescriberRecipe(model=str(folder)))
    (found,) = thinking.describe(thinking.prepare([Request(noise(0), "Describe.", 5)]))
    assert isinstance(found, Failure)
    assert "reasoning that never ended within 5 tokens" in found.reason


def test_preparing_in_another_thread_changes_nothing(describer):
    """As the loop does it: the next batches are prepared while the model answers."""
    requests = [Request(noise(seed), PROMPT + " Go." * seed, 6) for seed in range(6)]
    expected = [answers(describer, [request])[0] for request in requests]
    stop, errors = threading.Event(), []

    def prepare() -> None:
        try:
            while not stop.is_set():
                describer.prepare(requests)
        except Exception as error:
            errors.append(error)

    workers = [threading.Thread(target=prepare) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(3):
            assert answers(describer, requests) == expected
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert errors == []


def test_control_tokens_that_a_tokenizer_makes_by_normalizing():
    """What becomes one only after the tokenizer's own changes to the text (lower case, signs left out) is one."""
    from types import SimpleNamespace

    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    own = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    own.normalizer = normalizers.Sequence([normalizers.Replace("\u200b", ""), normalizers.Lowercase()])
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    own.add_tokens([AddedToken("<video>", normalized=True), AddedToken("turn", normalized=True)])
    own.add_special_tokens([AddedToken("stop!", special=True, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own, unk_token="[UNK]")
    control = ControlTokens(SimpleNamespace(tokenizer=tokenizer), "m")
    for name in ("<video>", "<VIDEO>", "<vi\u200bdeo>", "stop!", "[UNK]"):
        assert "a control token of m" in (control.found_in(f"Describe {name}.") or ""), name
    for name in ("video", "turn left", "< video >", "跳水"):  # "turn" is an added word, and no mark
        assert control.found_in(name) is None, name


def test_a_model_without_chat_template_or_videos_is_refused(tmp_path, tiny_model):
    """One clear message instead of a guess at the prompt's form: for InstructBLIP, for LLaVA 1.5."""
    import transformers as hf

    with pytest.raises(ModelError, match="has no chat template"):
        HfDescriber(DescriberRecipe(model=str(save_tiny(tmp_path / "a", "qwen2_5_vl", chat_template=False))))
    tokenizer = hf.AutoTokenizer.from_pretrained(tiny_model("llava_onevision"))
    pictures = hf.LlavaProcessor(hf.CLIPImageProcessor(), tokenizer, patch_size=14, chat_template="{{ messages }}")
    pictures.save_pretrained(tmp_path / "b")
    hf.LlavaConfig().save_pretrained(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").touch()
    with pytest.raises(ModelError, match="b takes no videos"):
        HfDescriber(DescriberRecipe(model=str(tmp_path / "b")))


def test_a_model_that_wants_to_run_its_own_code_is_refused(tiny_model, tmp_path):
    """With what to do instead: the original VideoLLaMA repositories are such."""
    folder = shutil.copytree(tiny_model("video_llama_3"), tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoConfig": "modeling.Config", "AutoModelForImageTextToText": "modeling.Model"}}
    (folder / "config.json").write_text(json.dumps({**config, **own, "model_type": "videollama3_qwen2"}))
    (folder / "modeling.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match=r"which is never done: choose .*\(docs/mllms\.md\)"):
        HfDescriber(DescriberRecipe(model=str(folder)))


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("/nowhere/model", "neither a folder here nor a hub id"),
        ("just-a-name", "neither a folder here nor a hub id"),
        ("nobody/nothing", "not in the Hugging Face cache, and cannot be fetched"),
    ],
)
def test_a_model_that_is_not_there_is_named(model, told):
    """The field, what was found, and what was tried."""
    with pytest.raises(ModelError, match=rf"describer\.model.*{model}.*{told}"):
        HfDescriber(DescriberRecipe(model=model))


def test_a_folder_without_usable_weights_is_refused(tiny_model, tmp_path):
    """Weights that are missing (they would be drawn at random) or cut, a damaged configuration, pickles alone."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_model("qwen2_5_vl"), tmp_path / "a")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layers.1" in name)
    save_file(
        {key: value for key, value in weights.items() if key != name}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"lacks 1 weights of its architecture, such as \S*layers\.1"):
        HfDescriber(DescriberRecipe(model=str(folder)))
    os.truncate(folder / "model.safetensors", 1000)
    with pytest.raises(ModelError, match="cannot be loaded"):
        HfDescriber(DescriberRecipe(model=str(folder)))
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded"):
        HfDescriber(DescriberRecipe(model=str(folder)))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"holds no \.safetensors"):
        HfDescriber(DescriberRecipe(model=str(folder)))


def test_quantization_is_checked_before_anything_is_loaded(describer, monkeypatch):
    """Names and JSON; what is missing is named: the package, the GPU, the method."""
    import importlib.util

    assert quantization_config(None) is None
    with pytest.raises(ModelError, match=r"describer\.quantization: int4 needs bitsandbytes; run `pip install"):
        HfDescriber(describer.recipe.model_copy(update={"quantization": "int4"}))
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: object())
        with pytest.raises(ModelError, match="int8 needs a GPU, and there is none"):
            quantization_config("int8")
    for bad in ("int7", "{}", '{"quant_method": "magic"}', "[1"):
        with pytest.raises(ModelError, match=r"expected int8, int4, or a quantization_config"):
            quantization_config(bad)
    config = quantization_config('{"quant_method": "quanto", "weights": "int4"}')
    assert (config.quant_method, config.weights) == ("quanto", "int4")
    with pytest.raises(ModelError, match="quanto"):
        HfDescriber(describer.recipe.model_copy(update={"quantization": '{"quant_method": "quanto"}'}))


def test_a_named_device_is_used(describer):
    """device_map takes a plain device; one that is not there is a ModelError."""
    assert str(HfDescriber(describer.recipe.model_copy(update={"device_map": "cpu"})).model.device) == "cpu"
    with pytest.raises(ModelError, match="cannot be loaded"):
        HfDescriber(describer.recipe.model_copy(update={"device_map": "cuda:1"}))


def test_text_settings_hold_what_changes_a_text_and_nothing_else(tiny_model):
    """Two recipes have the same settings if and only if they would write the same."""

    def made(recipe: DescriberRecipe) -> str:
        return DescriptionRecipe.of(recipe, FramesRecipe(), PromptsRecipe()).fingerprint()

    recipe = DescriberRecipe(model=str(tiny_model("qwen2_5_vl")))
    base = made(recipe)
    same = {"attention": "eager", "device_map": "cpu", "batch_size": 3, "dtype": resolve_dtype("auto")}
    same["retry"] = GenerationRecipe()
    for name, value in same.items():
        assert made(recipe.model_copy(update={name: value})) == base, name
    other = {
        "model": str(tiny_model("video_llama_3")),
        "dtype": "float16",
        "max_pixels": 1000,
        "quantization": "int8",
        "key_tokens": 5,
        "complete_tokens": 5,
        "generation": GenerationRecipe(beams=2),
        "server": ServerRecipe(url="http://127.0.0.1/v1"),
    }
    assert {*same, *other, "revision"} == set(DescriberRecipe.model_fields)
    seen = [base]
    for name, value in other.items():
        changed = made(recipe.model_copy(update={name: value}))
        assert changed not in seen, name
        seen.append(changed)


def test_choices_that_exclude_each_other_are_refused(describer):
    """Before anything is loaded or asked."""
    both = GenerationRecipe(beams=2, temperature=0.5)
    with pytest.raises(ModelError, match=r"describer\.retry: beams above 1 and a temperature"):
        make_describer(describer.recipe.model_copy(update={"retry": both}))
    served = describer.recipe.model_copy(update={"server": ServerRecipe(url="http://127.0.0.1/v1")})
    for update, told in (
        ({"generation": GenerationRecipe(beams=2)}, r"describer\.generation: servers support neither beams"),
        ({"max_pixels": 100}, r"describer\.max_pixels: is decided by the server"),
        ({"quantization": "int8"}, r"describer\.quantization: is decided by the server"),
    ):
        with pytest.raises(ModelError, match=told):
            text_settings(served.model_copy(update=update))


def test_the_revision_of_a_folder_is_its_content(tiny_model, tmp_path):
    """Weights and configuration change it; the place, other files and their times do not."""
    folder = shutil.copytree(tiny_model("qwen2_5_vl"), tmp_path / "a")
    first = resolve_revision(str(folder), None)
    (folder / "README.md").write_text("hello")
    (folder / "card.json").write_text("{}")
    moved = shutil.move(str(folder), str(tmp_path / "b"))
    assert resolve_revision(moved, None) == first
    assert model_id(moved) == "b"
    assert model_id("owner/name") == "owner/name"
    seen = {first}
    for name in ("config.json", "chat_template.jinja", "model.safetensors", "tokenizer.json"):
        path = Path(moved) / name
        path.write_bytes(path.read_bytes() + b" ")
        seen.add(resolve_revision(moved, None))
    assert len(seen) == 5


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_stands_in_the_place_of_a_model_s_file_is_named(tiny_model, tmp_path, name):
    """A clone without Git LFS leaves pointers, a download without a login pages."""
    folder = shutil.copytree(tiny_model("qwen2_5_vl"), tmp_path / "a")
    for content, told in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n", "a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
    ):
        (folder / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"describer\.model: .*{name}: is {told}"):
            resolve_revision(str(folder), None)


def test_auto_is_what_the_machine_does_well(monkeypatch):
    """The recorded precision is the one that runs."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_dtype("auto") == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for able, dtype in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation, able=able: able)
        assert resolve_dtype("auto") == dtype
    assert resolve_dtype("float32") == "float32"


def test_half_precision_runs(describer):
    """Pixels take the model's precision, times do not."""
    half = HfDescriber(describer.recipe.model_copy(update={"dtype": "bfloat16"}))
    inputs = half.inputs(RAGGED[:1])
    assert (str(inputs["pixel_values_videos"].dtype), str(inputs["second_per_grid_ts"].dtype)) == (
        "torch.bfloat16",
        "torch.float32",
    )
    assert answers(half, RAGGED[:1])[0].new_tokens


def test_the_canned_describer_counts_words():
    """It obeys the limit as a model does."""
    canned = CannedDescriber(lambda request: f"seen {len(request.frames.rgb)} frames  of a video")
    replies = answers(canned, [Request(noise(0), "One two three.", 9), Request(noise(0), "One.", 2)])
    assert [(r.text, r.prompt_tokens, r.new_tokens, r.finish_reason) for r in replies] == [
        ("seen 4 frames of a video", 3, 6, "eos"),
        ("seen 4", 1, 2, "length"),
    ]
