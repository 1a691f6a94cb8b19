"""Real hand gestures (SHREC 2021) as a weakly-supervised benchmark."""
