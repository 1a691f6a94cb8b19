"""Texts to words and word vectors: tokenization, GloVe and other vector files, action words, embeddings in Parquet.

No video and no language model is used here.
"""
