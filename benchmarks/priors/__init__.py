"""Benchmarks of the priors stage: decoding, describing, kills, memory, word vectors."""
