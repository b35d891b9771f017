"""Replays: select, freeze, issue, follow."""
