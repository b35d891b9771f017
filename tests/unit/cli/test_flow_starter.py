"""`mlc flows init`: what it writes is valid as it stands, and maps the vendor's own examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML
from typer.testing import CliRunner

from ml_connector.cli.flow_files import read_flow_file
from ml_connector.cli.flow_starter import starter
from ml_connector.cli.flow_writing import init, problems_of
from ml_connector.common import headers as h
from ml_connector.common import topics
from ml_connector.common.errors import BadInput
from ml_connector.common.wire import Preview, Reference, StoredStages
from ml_connector.resolver.message import Message
from ml_connector.resolver.preview import preview_of
from support.resolving import Cored

EXAMPLES = Path(__file__).parents[2] / "data" / "pipedrive" / "webhook-v2-official"
NAMES = {"flow": "acme", "company": "acme", "account": "1234567_SB1", "prefix": "pd"}
AT_MS = 1_795_168_800_123


def ran(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(init)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout


def mapped(body: dict[str, Any]) -> Preview:
    """By the resolver, for a company with the stages that the flow names."""
    document = YAML(typ="safe").load(starter(**NAMES))
    cored = Cored(now_ms=AT_MS)
    cored.apply(document, version=1)
    names = [name.partition("/")[2] for name in document["stages"]]
    stages = [{"id": number, "name": name, "pipeline_id": 1} for number, name in enumerate(names, start=1)]
    cored.book.put(StoredStages("acme", AT_MS, [{"id": 1, "name": "Pipeline"}], stages))
    headers = {h.FLOW: b"acme", h.COMPANY: b"acme", h.RECEIVED_AT_MS: b"%d" % AT_MS}
    message = Message(topics.EVENTS.name, 0, 0, b"acme", json.dumps(body).encode(), headers)
    return preview_of("q", cored.core.event(message))


def example(name: str, **data: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    body["data"].update(data)
    return body


@pytest.mark.parametrize(("account", "environment"), [("1234567_SB1", "sandbox"), ("1234567", "production")])
def test_what_is_written_is_valid_and_its_environment_that_of_the_account(
    tmp_path: Path, account: str, environment: str
) -> None:
    file = tmp_path / "flow.yaml"

    code, _ = ran("acme", "--company", "acme-eu", "--account", account, "-o", str(file))

    assert (code, problems_of(file)) == (0, [])
    assert read_flow_file(file)[0]["environment"] == environment


def test_without_a_file_it_is_printed() -> None:
    assert ran() == (0, starter(flow="my-flow", company="my-company", account="1234567_SB1", prefix="pd"))


def test_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("mine")

    assert ran("-o", str(file))[0] == 2
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", NAMES)
def test_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        starter(**{**NAMES, name: "a\nexternal_ids: b"})


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in EXAMPLES.glob("[odp]*.json") if "pipeline" not in path.stem)
)
def test_every_example_of_the_vendor_is_mapped(name: str) -> None:
    found = mapped(json.loads((EXAMPLES / f"{name}.json").read_text()))

    assert (found.result, found.reason) == ("desired", "")


def test_deal_gets_its_status_its_amount_and_its_customer() -> None:
    found = mapped(example("deal.change", stage_id=2))

    assert (found.fields["title"], found.fields["projectedTotal"]) == ("Sample Org deal", 100)
    assert found.references == {"currency": Reference("currency", "EUR"), "entityStatus": Reference("id", "8")}
    assert found.parent is not None and found.parent.source_id == "1"


@pytest.mark.parametrize("address", ["Main St 1", {"value": "Main St 1", "country": "USA"}])
def test_address_is_taken_in_either_shape(address: Any) -> None:
    """How webhooks have it when it is set is unconfirmed (facts/pipedrive.md section 13)."""
    assert mapped(example("organization.change", address=address)).fields["comments"] == "Main St 1"


def test_phones_are_taken_by_what_they_are() -> None:
    phones = [{"value": "1", "primary": True, "label": "work"}, {"value": "2", "primary": False, "label": "mobile"}]

    found = mapped(example("person.change", phones=phones))

    assert (found.fields["phone"], found.fields["mobilePhone"], found.fields["email"]) == ("1", "2", None)
