"""Flows: look, change."""
