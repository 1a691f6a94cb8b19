"""Describers, the captioning models (MLLMs): their protocol, transformers models, OpenAI-compatible servers.

Which videos are described, and where the texts go, is decided in `run/`.
"""
