"""The gallery of descriptions: the frames that the model saw, prompts and texts."""
