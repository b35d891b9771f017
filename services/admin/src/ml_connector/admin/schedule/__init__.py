"""Schedules: judge what is due, begin it, tell what became of it."""
