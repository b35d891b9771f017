"""Credentials: look, change, rotate. Never: a value that leaves this service."""
