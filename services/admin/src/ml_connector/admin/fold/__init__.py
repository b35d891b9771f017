"""Messages to tables: audit, letters, work, jobs."""

from ml_connector.admin.fold.fold import READ, fold

__all__ = ["READ", "fold"]
