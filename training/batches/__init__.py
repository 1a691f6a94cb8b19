"""What a step is shown: videos and texts drawn into batches, and whole videos for inference.

Sampling is here; what a batch is used for is not.
"""
