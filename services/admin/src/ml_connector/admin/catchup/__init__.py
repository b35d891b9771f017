"""Catch-up: find the gaps in what was delivered, read what changed in them, search for what is gone."""
