"""Features and priors in; checkpoints and detections out.

No video is decoded and no language model runs here; what is shown of results is drawn by `pipelines/`.
"""
