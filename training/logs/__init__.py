"""Logging of a training run: metrics.jsonl, TensorBoard, W&B, MLflow."""
