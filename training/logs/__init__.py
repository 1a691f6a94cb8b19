"""What a training writes of its progress: metrics.jsonl, TensorBoard, W&B, MLflow."""
