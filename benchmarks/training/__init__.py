"""Benchmarks of features, training and inference: memory, stops, cost."""
