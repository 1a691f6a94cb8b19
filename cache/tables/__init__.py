"""The Parquet tables: schemas, the store of immutable Parquet files, and reading of embeddings for training.

Analysis of the texts in them is in `descriptions/`.
"""
