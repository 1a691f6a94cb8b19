"""The hosts beside their public code, on the same inputs and weights."""
