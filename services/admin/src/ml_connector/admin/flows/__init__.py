"""Flows: look, change, preview, stops."""
