"""What lies on disk between the offline priors stage and the trainer. No torch, no models."""
