"""Syncs: check, estimate, start, drive from entity to entity, follow."""
