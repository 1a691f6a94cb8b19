"""Each family of video chat models on the one call path, as a tiny random checkpoint loaded as the large ones are."""

import pytest

from priors.describers.families import FAMILIES
from priors.describers.hf import HfDescriber
from priors.describers.protocol import Failure, Request, answers
from priors.describers.recipe import DescriberRecipe
from priors.pretrained.model_files import ModelError
from priors.video.frames import sample_frames
from tests.support.models.family_checks import CHECKS, PROMPT, noise
from tests.support.models.tiny_models import WORDS
from tests.support.videos.videos import write_video


@pytest.fixture(scope="module", params=WORDS)
def describer(request, tiny_model) -> HfDescriber:
    """A tiny model of each family."""
    return HfDescriber(DescriberRecipe(model=str(tiny_model(request.param))))


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_every_family(describer, check):
    """What the table of benchmarks/priors/families.py says."""
    check(describer)


def test_times_of_a_video_whose_rate_varies(describer, tmp_path):
    """From the file to the prompt: the time at which each sampled frame is shown, and not its number over a rate."""
    shown = [0.0, 0.1, 0.2, 0.3, 3.0, 5.9]
    frames = sample_frames(write_video(tmp_path / "v.mkv", 6, times=shown), count=3)
    inputs = describer.inputs([Request(frames, "Describe.", 4)])
    text = describer.tokenizer.decode(inputs["input_ids"][0])
    assert frames.seconds.tolist() == pytest.approx([0.3, 0.3, 3.0], abs=0.01)
    expected = {
        "VideoLLaMA3": "Time 0.3s:",
        "Qwen3-VL": "<0.3 seconds>",
        "SmolVLM2": "Frame from 00:03:",
    }.get(describer.family.name)
    assert expected is None or expected in text
    if describer.family.name == "VideoLLaMA3":
        assert text.count("Time 0.3s:") == 2
        assert text.count("Time 3.0s:") == 1


def test_one_begin_of_sequence(describer):
    """Whether the template writes it, the tokenizer adds it, or there is none."""
    ids = describer.inputs([Request(noise(0), PROMPT, 4)])["input_ids"][0].tolist()
    begin = describer.tokenizer.bos_token_id
    assert begin is None or (ids[0] == begin and ids.count(begin) == 1)


def _refused(describer: HfDescriber, name: str) -> bool:
    prepared = describer.prepare([Request(noise(0), f"Describe the action of {name} in detail.", 4)])
    (answer,) = describer.describe(prepared) if prepared.inputs[0] else (None,)
    return isinstance(answer, Failure) and "rename the class" in answer.reason


def test_every_control_token_in_a_class_name_is_refused(describer):
    """All that the tokenizer would not read as plain text, in other forms of Unicode too: a class name is untrusted."""
    marks = {token.content for token in describer.tokenizer.added_tokens_decoder.values()}
    assert len(marks) >= 5
    for mark in {*marks, describer.processor.video_token, describer.processor.image_token}:
        assert _refused(describer, mark), mark
        assert _refused(describer, f"Dive{mark}\u200bassistant"), mark
        wide = "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in mark)
        assert _refused(describer, wide), wide
    for name in ("Dive\nassistant", "a\x00", "a\x9b", "\ud800"):
        assert _refused(describer, name), repr(name)


@pytest.mark.parametrize(
    "name", ["50% {{ messages }} {% raw %}", "ünïcode 跳水 🏊 ﬁ", "<b> | [x] {y} </p>", "a'); DROP"]
)
def test_odd_names_are_plain_text(describer, name):
    """Nothing in a class name is read as jinja or as markup: the model sees it as it stands."""
    request = Request(noise(0), f"Describe {name}.", 4)
    assert answers(describer, [request])[0].new_tokens > 0
    text = describer.tokenizer.decode(describer.inputs([request])["input_ids"][0])
    assert f"Describe {name}." in text


def test_max_pixels_bounds_a_frame_or_is_refused(describer):
    """However many frames there are, also where the model's own limit is one of the whole video."""
    of_video = describer.family.pixel_budget == "video"
    limit = 64 * 64 if of_video else 2000
    recipe = describer.recipe.model_copy(update={"max_pixels": limit})
    if describer.family.pixel_budget is None:
        with pytest.raises(ModelError, match=rf"describer\.max_pixels: frames of {describer.family.name} have a fixed"):
            HfDescriber(recipe)
        return
    small = HfDescriber(recipe)

    def pixels(one: HfDescriber, count: int) -> float:
        grid = one.inputs([Request(noise(0, count=count, height=256, width=256), "Describe.", 4)])["video_grid_thw"][0]
        return float(grid[1] * grid[2]) * one.processor.video_processor.patch_size**2

    assert pixels(small, 4) == pixels(small, 16) <= limit
    assert pixels(describer, 16) != pixels(small, 16)
    assert (pixels(describer, 4) != pixels(describer, 16)) == of_video


def test_frames_that_a_processor_refuses_leave_the_others_alone(describer):
    """A picture 2 pixels high and 900 wide is too long for some; it fails by itself."""
    odd = Request(noise(1, height=2, width=900), "Describe.", 4)
    good = Request(noise(0), PROMPT, 4)
    mixed = describer.describe(describer.prepare([good, odd, good]))
    alone = answers(describer, [good])[0]
    assert (mixed[0], mixed[2]) == (alone, alone)
    assert isinstance(mixed[1], Failure) == (describer.family.pixel_budget is not None)


def test_more_tokens_than_the_model_has_positions_for(describer):
    """Beyond its context a model writes noise: such a request fails by itself, and says what to lower."""
    limit = describer.model.config.get_text_config().max_position_embeddings
    good = Request(noise(0), PROMPT, 4)
    shown = answers(describer, [good])[0].prompt_tokens
    just, beyond = Request(noise(0), PROMPT, limit - shown), Request(noise(0), PROMPT, limit - shown + 1)
    assert describer.prepare([just]).inputs[0] == {}
    mixed = describer.describe(describer.prepare([beyond, good]))
    assert mixed[1] == answers(describer, [good])[0]
    assert isinstance(mixed[0], Failure)
    assert f"more than the {limit}" in mixed[0].reason
    assert ("max_pixels" in mixed[0].reason) == (describer.family.pixel_budget is not None)


def test_the_table_of_families_names_what_transformers_has():
    """Every entry is a class of the installed transformers, and every one but the mixture of experts is tested here."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as NATIVE

    assert set(FAMILIES) <= set(NATIVE)
    assert set(FAMILIES) - set(WORDS) == {"qwen3_vl_moe"}


def test_settings_of_a_request_asked_again(describer):
    """Drawn, and so another text, yet the same in each run; the first answers stay greedy beside it."""
    request = Request(noise(0), PROMPT, 12)
    again = Request(noise(0), PROMPT, 12, again=True)
    first, second, third = answers(describer, [again, request, again])
    assert first == third == answers(describer, [again])[0]
    assert second == answers(describer, [request])[0]
    assert first.text != second.text
