"""Video and image models as encoders: tiny random checkpoints of the real architectures, compared with themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from priors.features.encoder import Encoder
from priors.features.recipes import EncoderRecipe
from priors.features.snippets import Snippets
from priors.pretrained.model_files import ModelError
from priors.pretrained.torchvision_cpu import make_torchvision_importable

make_torchvision_importable()
import torch  # noqa: E402
import transformers  # noqa: E402

SMALL: dict[str, Any] = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VIDEO: dict[str, Any] = {"image_size": 28, "patch_size": 14, "num_frames": 4, **SMALL}
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 3), np.uint8)
ONE = [Snippets(PICTURES, np.arange(4)[None])]


def video_model(kind: str) -> tuple[Any, Any]:
    """A classifier and its processor."""
    t: Any = transformers
    match kind:
        case "timesformer":
            return t.TimesformerForVideoClassification(t.TimesformerConfig(**VIDEO)), t.VideoMAEImageProcessor()
        case "vivit":
            config = t.VivitConfig(**VIDEO, tubelet_size=[2, 14, 14])
            processor = t.VivitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
            return t.VivitForVideoClassification(config), processor
        case "vjepa2":
            config = t.VJEPA2Config(
                crop_size=28, patch_size=14, frames_per_clip=4, hidden_size=12, num_hidden_layers=1,
                num_attention_heads=2, mlp_ratio=1, pred_hidden_size=12, pred_num_hidden_layers=1,
                pred_num_attention_heads=2, pred_num_mask_tokens=1, num_pooler_layers=1,
            )  # fmt: skip
            return t.VJEPA2ForVideoClassification(config), t.VJEPA2VideoProcessor(crop_size=28)
    raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["timesformer", "vivit", "vjepa2"])
def test_features_of_a_video_model_lead_to_its_scores(tmp_path, kind):
    """Through its last layer, for pictures that its own processor normalises."""
    torch.manual_seed(0)
    model, processor = video_model(kind)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    encoder = Encoder(EncoderRecipe(model=str(tmp_path)), device="cpu")
    plain: dict[str, Any] = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
    inputs = processor([list(PICTURES)] if kind != "vjepa2" else torch.from_numpy(PICTURES).movedim(-1, 1), **plain)
    if kind == "timesformer":
        inputs = {"pixel_values": inputs["pixel_values"].reshape(1, 4, 3, 28, 28)}
    with torch.inference_mode():
        scores = model.eval()(**inputs).logits
        found = model.classifier(torch.from_numpy(encoder.encode(ONE)))
    torch.testing.assert_close(found, scores, atol=1e-5, rtol=1e-4)
    assert (encoder.view.frames, encoder.view.side) == (4, 28)
    assert encoder.view.shorter_side == (None if kind == "timesformer" else 32)


def test_a_video_model_without_a_head_gives_the_mean_of_its_tokens(tmp_path):
    """V-JEPA 2 as it is pretrained, on another number of frames than in training."""
    torch.manual_seed(0)
    model, processor = video_model("vjepa2")
    model.vjepa2.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    encoder = Encoder(EncoderRecipe(model=str(tmp_path), frames=2), device="cpu")
    assert (encoder.view.frames, encoder.width) == (2, 12)
    pixels = (torch.from_numpy(PICTURES[:2]).float() - encoder._mean) / encoder._spread
    with torch.inference_mode():
        tokens = model.vjepa2.eval()(pixels.movedim(-1, 1)[None], skip_predictor=True).last_hidden_state
    found = encoder.encode([Snippets(PICTURES, np.arange(2)[None])])
    np.testing.assert_allclose(found, tokens.mean(dim=1), atol=1e-5)


def test_frames_that_a_model_has_no_positions_for_are_refused(tmp_path):
    """TimeSformer's are learned."""
    model, processor = video_model("timesformer")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"frames: found 8, expected 4"):
        Encoder(EncoderRecipe(model=str(tmp_path), frames=8))


def image_model(kind: str) -> tuple[Any, Any]:
    """A tower of a model with its processor."""
    t: Any = transformers
    sizes = {"image_size": 28, "patch_size": 14, **SMALL}
    crop = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    match kind:
        case "clip":
            text = {**SMALL, "vocab_size": 9, "max_position_embeddings": 4}
            config = t.CLIPConfig(vision_config=sizes, text_config=text, projection_dim=6)
            return t.CLIPModel(config), t.CLIPImageProcessor(**crop)
        case "siglip":
            processor = t.SiglipImageProcessor(size={"height": 28, "width": 28})
            return t.SiglipVisionModel(t.SiglipVisionConfig(**sizes)), processor
        case "dinov2":
            config = t.Dinov2Config(image_size=56, patch_size=14, hidden_size=12, num_hidden_layers=1,
                                    num_attention_heads=2, mlp_ratio=1)  # fmt: skip
            return t.Dinov2Model(config), t.BitImageProcessor(**{**crop, "size": {"shortest_edge": 32}})
    raise AssertionError(kind)


def of_picture(kind: str, model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The vector of each picture, as the model's own examples take it."""
    match kind:
        case "clip":
            return model.visual_projection(model.vision_model(pixels).pooler_output)
        case "siglip":
            return model(pixels).pooler_output
    return model(pixels).last_hidden_state[:, 0]


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2"])
def test_features_of_an_image_model_are_the_mean_over_frames(tmp_path, kind):
    """For pictures that its own processor normalises; CLIP's are projected beside its texts."""
    torch.manual_seed(0)
    model, processor = image_model(kind)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    encoder = Encoder(EncoderRecipe(kind="image", model=str(tmp_path)), device="cpu")
    plain: dict[str, Any] = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
    pixels = processor(list(PICTURES), **plain)["pixel_values"]
    with torch.inference_mode():
        expected = of_picture(kind, model.eval(), pixels).mean(dim=0, keepdim=True)
    np.testing.assert_allclose(encoder.encode(ONE), expected, atol=1e-5)
    assert (encoder.view.frames, encoder.view.side) == (4, 28)
    assert encoder.view.shorter_side == (32 if kind == "dinov2" else 28)
    assert encoder.width == expected.shape[1] == (6 if kind == "clip" else 12)


def test_a_model_of_timm_is_an_encoder(tmp_path):
    """Without its classifier, normalised by its own data config."""
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model("test_vit", pretrained=False).eval()
    save_for_hf(model, tmp_path, safe_serialization=True)
    encoder = Encoder(EncoderRecipe(kind="image", model=str(tmp_path), frames=2), device="cpu")
    side = encoder.view.side
    pictures = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    mean, std = (torch.tensor(model.pretrained_cfg[name])[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        pixels = (torch.from_numpy(pictures).movedim(-1, 1) / 255 - mean) / std
        expected = model.forward_head(model.forward_features(pixels), pre_logits=True).mean(dim=0, keepdim=True)
    found = encoder.encode([Snippets(pictures, np.arange(2)[None])])
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    assert encoder.width == model.num_features


def test_a_model_of_another_kind_is_refused(tmp_path):
    """A video model as an image model, and the other way round."""
    (tmp_path / "video").mkdir()
    model, processor = video_model("timesformer")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "video")
    with pytest.raises(ModelError, match="found a timesformer, expected for kind image"):
        Encoder(EncoderRecipe(kind="image", model=str(tmp_path / "video")))
    model, processor = image_model("dinov2")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "image")
    with pytest.raises(ModelError, match=r"expected a video model; image models are of kind image"):
        Encoder(EncoderRecipe(model=str(tmp_path / "image")))


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    """They would be random numbers."""
    model, processor = image_model("clip")
    for part in (model.vision_model, processor):
        part.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "projection_dim": 6}))
    with pytest.raises(ModelError, match=r"not those of a CLIPVisionModelWithProjection: visual_projection.weight is"):
        Encoder(EncoderRecipe(kind="image", model=str(tmp_path)))


def test_weights_have_one_digest_whatever_the_place(tmp_path):
    """The folder's name and its other files do not count; the weights do."""
    digests = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(seed)
        for part in image_model("dinov2"):
            part.save_pretrained(tmp_path / place)
        (tmp_path / place / "README.md").write_text(place)
        digests.append(Encoder(EncoderRecipe(kind="image", model=str(tmp_path / place)), device="cpu").weights)
    assert digests[0] == digests[1] != digests[2]
    assert Path(tmp_path / "a" / "model.safetensors").exists()
