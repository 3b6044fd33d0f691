"""A small archive and model with the interface that retrieval relies on, and nothing else."""

from memory_archive import archive, fields, model

__all__ = ["archive", "fields", "model"]
