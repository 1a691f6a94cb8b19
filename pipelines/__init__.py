"""The commands: each module is run as `python -m pipelines.<command> <preset> <options>`."""
