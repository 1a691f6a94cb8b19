"""Where things are, seen from any test."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
GOLDENS = ROOT / "tests" / "goldens"
SHARED = ROOT.parent / "shared"
"""Reference data beside the repository; tests that read it skip where it is absent."""
