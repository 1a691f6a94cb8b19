"""The Parquet tables: their schemas, the store of immutable parts, and what the trainer reads of the embeddings.

What judges or counts the texts in them belongs in `descriptions/`.
"""
