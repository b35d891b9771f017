"""The HTTP API: one module for each noun, `models.py` is what goes in and out."""
