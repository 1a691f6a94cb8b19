"""Pages of predictions: one for each video, and an index of all."""
