"""Run by alembic, in the connection that `database.py` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from ml_connector.admin.tables import metadata

_connection: Connection = context.config.attributes["connection"]
# SQLite cannot change a table in its place: alembic copies it.
context.configure(connection=_connection, target_metadata=metadata, render_as_batch=True)

with context.begin_transaction():
    context.run_migrations()
