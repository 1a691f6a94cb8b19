"""Settings chosen from video labels alone: what is searched, the split, the trials, the choice."""
