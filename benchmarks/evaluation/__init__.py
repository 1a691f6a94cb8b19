"""Benchmarks of the evaluator, the diagnosis and post-processing, and their plain second implementations."""
