"""Whatever watches raw video, once, offline: decoding, descriptions, word vectors, snippet features."""
