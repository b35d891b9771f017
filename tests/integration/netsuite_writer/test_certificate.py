"""A made certificate opens an account, and the running writer says when it ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ml_connector.cli.certificates import Key, make
from support.own_account import OwnAccount
from support.writing import Writing, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_writer_warns_of_the_certificate_that_it_logs_in_with(writing: Writing, lines: list[str]) -> None:
    own = await OwnAccount.open(writing, "3600001")
    pair = make(Key.ec_p256, name="n", days=5, now=datetime.now(UTC))
    await writing.add_account(own.account, pair=pair)

    await own.emit(*own.states_of("organization", range(1, 2)))
    await own.outcomes()

    async def warned() -> bool:
        told = [line for line in list(lines) if "certificate_ends" in line]
        return any(own.account in line and "days_left" in line for line in told)

    await until(warned)
    secret_lines = pair.private_key.decode().splitlines()[1:-1]
    assert not any(secret in line for line in lines for secret in secret_lines)
    assert await own.judged() == []
