"""Features and priors in; checkpoints and detections out."""
