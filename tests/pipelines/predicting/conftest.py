"""A trained run with its videos, made once a session."""

from pathlib import Path

import pytest

from tests.support.data.video_world import VideoWorld, make_video_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> VideoWorld:
    """Tests read it; whoever changes something copies it first."""
    return make_video_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder for predictions."""
    return tmp_path / "predictions"
