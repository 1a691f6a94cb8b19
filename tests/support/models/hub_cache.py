"""A Hugging Face cache with made-up models."""

import json
from pathlib import Path


def cached(root: Path, model: str, *, kind: str, missing: bool = False) -> None:
    """A model in a Hugging Face cache: a config, and weights in two files, of which one may be missing."""
    folder = root / f"models--{model.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0a1b")
    (snapshot / "config.json").write_text(json.dumps({"model_type": kind, "architectures": [f"{kind}For"]}))
    weights = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    for name in list(weights.values())[missing:]:
        (snapshot / name).touch()
