"""Webhooks of a flow: ask their owner, rotate their keys, hear what the ingests believe and refuse."""
