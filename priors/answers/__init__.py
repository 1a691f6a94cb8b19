"""What a model or its server says, in whatever shape it comes: the text, apart from reasoning, or why there is none."""
