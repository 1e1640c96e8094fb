"""Fits in files: written whole, read back as they were, without pickle."""
