"""Training, inference and evaluation: features and priors in, checkpoints and detections out.

No video is decoded and no language model runs here; reports and figures are made by `pipelines/`.
"""
