"""Checks of a training: settings that do not suit the data, before it; what has not been learned, after it."""
