"""The HTTP API: one module for each noun; what goes in and out where it is much in `<noun>_models.py` beside it."""
