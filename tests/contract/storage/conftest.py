"""Each test once with SQLite and once with PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from ml_connector.admin.database import Database
from ml_connector.admin.tables import metadata
from support import postgres


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Postgres]:
    try:
        with postgres.start() as one:
            yield one
    except postgres.Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('admin')}/admin.sqlite"
    server: postgres.Postgres = request.getfixturevalue("server")
    return server.database()


@pytest.fixture(scope="module")
def database(url: str) -> Iterator[Database]:
    one = Database(url)
    one.migrate()
    yield one
    one.close()


@pytest.fixture
def empty(database: Database) -> Database:
    with database.write() as connection:
        for table in metadata.sorted_tables:
            connection.execute(delete(table))
    return database
