"""Tiny checkpoints, small hosts, and a server that answers."""
