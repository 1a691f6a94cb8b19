"""Offline preprocessing of raw video: decoding, descriptions, word vectors, snippet features.

Nothing here trains or evaluates; training reads only the files that are written here.
"""
