"""Text to words and word vectors: tokenization, GloVe and other word files, action words, the embeddings in Parquet.

No video and no language model.
"""
