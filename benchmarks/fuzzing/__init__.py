"""Mutated inputs for every reader: read right, refused with a message, or wrong."""
