"""`company`: the stand-in's by default; with `--target` the company of PIPEDRIVE_API_TOKEN in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from contract.pipedrive.company import PLURALS, PipedriveCompany
from support.pipedrive_standin import PipedriveProcess


@pytest.fixture(scope="session")
def company(request: pytest.FixtureRequest) -> Iterator[PipedriveCompany]:
    target = request.config.getoption("--target", None)
    if target:
        real = PipedriveCompany(target.rstrip("/"), os.environ["PIPEDRIVE_API_TOKEN"])
        yield real
        for entity, number in reversed(real.made):
            real.ask("DELETE", f"/api/v2/{PLURALS[entity]}/{number}")
    else:
        with PipedriveProcess() as process:
            yield PipedriveCompany(process.url, process.company("contract"))
