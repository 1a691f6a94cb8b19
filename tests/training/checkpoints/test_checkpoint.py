"""Files of a checkpoint that were damaged or changed by hand: named, never half believed."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cache.features import FeatureGrid
from training.checkpoints.checkpoint import State, load_state, load_trained, load_training, save_checkpoint
from training.checkpoints.folder import find_checkpoint
from training.errors import TrainingError
from training.hosts.plain import PlainRecipe
from training.model.mllm4wtal import Mllm4Wtal, ModelRecipe
from training.recipe import TrainRecipe

GRID = FeatureGrid(streams={"rgb": 3}, fps=25, snippet_frames=16, snippet_stride=16)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A host alone after a step of Adam."""
    parts = ModelRecipe(host=PlainRecipe(width=4), use_ksm=False, use_csr=False, use_dpid=False, use_head=False)
    model = Mllm4Wtal(parts, streams=GRID.streams, num_classes=2)
    optimizer = torch.optim.Adam(model.parameters())
    torch.stack([value.square().sum() for value in model.parameters()]).sum().backward()
    optimizer.step()
    state = State(1, TrainRecipe(model=parts), ("ab", "b"), ("a",), GRID, "0", {"loss": (1.5, 3)}, finished=False)
    return save_checkpoint(
        tmp_path, state, model=model, average=None, optimizers={"host": optimizer}, pseudo=None, notes={}
    )


def rewrite(checkpoint: Path, **fields: Any) -> None:
    """Change state.json."""
    path = checkpoint / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", "ab"),
        ("classes", [1, 2]),
        ("classes", ["b", "b"]),
        ("classes", ["b", "\u200b"]),
        ("classes", ["b", "\x1b[31m"]),
        ("words", "a"),
        ("step", "1"),
        ("step", True),
        ("step", -1),
        ("data", None),
        ("means", []),
        ("means", {"loss": [1.5]}),
        ("means", {"loss": ["1.5", 3]}),
        ("finished", "no"),
    ],
)
def test_a_field_of_another_type_is_named(checkpoint: Path, field: str, value: object):
    """A text is no list of its letters."""
    rewrite(checkpoint, **{field: value})
    with pytest.raises(TrainingError, match=rf"state\.json: is no state of a training run(.|\n)*{field}"):
        load_state(checkpoint)


def test_the_state_is_read_as_it_was_written(checkpoint: Path):
    """Also with a byte order mark, as editors add it."""
    before = load_state(checkpoint)
    path = checkpoint / "state.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_state(checkpoint) == before
    assert (before.classes, before.means) == (("ab", "b"), {"loss": (1.5, 3)})
    assert find_checkpoint(checkpoint.parents[1]) == checkpoint


@pytest.mark.parametrize("files", [[], "ab", None, 3])
def test_sizes_that_are_none_are_damage(checkpoint: Path, files: object):
    """Not a traceback."""
    rewrite(checkpoint, files=files)
    with pytest.raises(TrainingError, match=r"state\.json: files: found .*, expected the size of each file"):
        find_checkpoint(checkpoint.parents[1])


@pytest.mark.parametrize("text", ['{"step": 1, "step": 2}', "[" * 100_000, '{"a": NaN}'])
def test_a_state_that_json_alone_would_take_is_damage(checkpoint: Path, text: str):
    """A key twice, nesting without end, a number that is none."""
    (checkpoint / "state.json").write_text(text)
    for read in (load_state, lambda folder: find_checkpoint(folder.parents[1])):
        with pytest.raises(TrainingError, match=r"state\.json"):
            read(checkpoint)


def test_a_pointer_that_is_no_text_is_passed_over(checkpoint: Path):
    """The folders tell, too."""
    (checkpoint.parent / "latest").write_bytes(b"\xff\xfe")
    assert find_checkpoint(checkpoint.parents[1]) == checkpoint


def test_weights_of_another_type_are_refused(checkpoint: Path):
    """Whole numbers that take as many bytes would become weights."""
    path = checkpoint / "model.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    path.write_bytes(data[:8] + data[8 : 8 + size].replace(b"F32", b"I32") + data[8 + size :])
    with pytest.raises(TrainingError, match=r"holds the weights of another model(.|\n)*torch\.int32 instead of"):
        load_trained(checkpoint)


def flipped(data: bytes) -> bytes:
    """Another bit in the numbers of a state of Adam."""
    at = data.index(b"data/2") + 64 + 8
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda data: data + data[-40:]])
def test_damaged_state_of_training_is_refused(checkpoint: Path, damage: Callable[[bytes], bytes]):
    """torch looks at no checksum, so that a run would go on with other moments."""
    path = checkpoint / "optimizer.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingError, match=r"optimizer\.pt.*train again"):
        load_training(checkpoint)
