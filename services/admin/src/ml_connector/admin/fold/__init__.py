"""Messages to tables: audit, letters, work, companies, jobs, flows, secrets."""

from ml_connector.admin.fold.fold import READ, fold
from ml_connector.admin.fold.prune import prune

__all__ = ["READ", "fold", "prune"]
