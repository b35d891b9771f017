"""Drift: poll NetSuite, see what was found changed there and what was done about it."""
