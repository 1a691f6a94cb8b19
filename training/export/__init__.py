"""Trained models as ONNX files: writing them, and running them without torch."""
