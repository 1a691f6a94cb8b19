"""Video decoding: containers, readers, sampling of frames with timestamps, and worker processes that decode ahead.

No model is used here.
"""
