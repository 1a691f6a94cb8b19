"""What answers a question about frames: the protocol, transformers models, OpenAI-compatible servers.

Which videos are asked about, and where answers go, is the business of `run/`.
"""
