"""What lies on disk between the offline priors stage and the trainer: its formats, and how they are written safely.

Nothing here knows a model: no torch, no decoding, no training. What looks at texts is in `descriptions/`, what reads
other people's datasets in `layouts/`.
"""
