"""Whatever watches raw video, once, offline: decoding, descriptions, word vectors, snippet features.

Nothing here trains or evaluates; the trainer meets it only through what lies on disk.
"""
