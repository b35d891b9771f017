"""Flows: look, fits, change, preview, stops."""
