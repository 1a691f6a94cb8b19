"""Made-up videos, whole and damaged."""
