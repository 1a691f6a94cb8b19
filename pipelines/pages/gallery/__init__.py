"""The gallery of descriptions: frames that the model saw, prompts and texts."""
