"""Credentials: which there are, change. Never: a value that leaves this service."""
