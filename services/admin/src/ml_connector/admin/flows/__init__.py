"""Flows: look, change, stops."""
