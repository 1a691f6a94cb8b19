"""What holds for every test: one thread, and nobody to ask for models."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Read when torch and transformers are imported. Small tensors on several threads are many times slower than on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A shell starts what runs in its background with Ctrl-C ignored; tests of interruption are the same there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A busy machine is no reason to fail.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random checkpoint of a family, made once a session."""
    root = tmp_path_factory.mktemp("tiny")

    def folder(family: str) -> Path:
        from tests.support.models.tiny_models import save_tiny

        return root / family if (root / family).is_dir() else save_tiny(root / family, family)

    return folder
