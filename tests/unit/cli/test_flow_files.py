"""`mlc flows validate`: every problem with its line, and a clear word for everything that is no flow at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from ml_connector.cli.flow_files import MAX_BYTES, Lines, read_flow_file
from ml_connector.cli.flow_writing import validate
from ml_connector.common.errors import InvalidFlow

GOOD = """
flow: acme
environment: sandbox
pipedrive: {company: acme}
netsuite: {account: 1234567_SB1}
external_ids: pd
entities:
  organization:
    record: customer
    fields:
      companyName: data.name
"""
BAD = """# a flow
flow: acme
environment: production
pipedrive: {compny: acme}
netsuite: {account: 1234567_SB1}
external_ids: pd
stages:
  "Sales: EU/Lead.In": eight
  Sales v2.0: "8"
entities:
  organization:
    record: customer
    match:
      - companyName
      - emial
    fields: {companyName: data.name, email: data.name +}
"""


def ran(file: Path, *options: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(validate)
    result = CliRunner().invoke(app, [str(file), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flow.yaml"


def test_good_flow(file: Path) -> None:
    file.write_text(GOOD)

    assert ran(file) == (0, f"{file}: nothing is wrong with it\n")


def test_every_problem_has_its_line_even_where_names_hold_dots_and_colons(file: Path) -> None:
    file.write_text(BAD)

    code, said = ran(file)

    places = [line.removeprefix(f"{file}:").partition(": ") for line in said.splitlines()[:-1]]
    assert code == 1
    assert [(int(line), what.rpartition(": ")[0] or what) for line, _, what in places if line != "4"] == [
        (3, "environment"),
        (8, "stages.Sales: EU/Lead.In: String should match pattern '^[0-9]{1,10}$'"),
        (9, "stages.Sales v2.0"),
        (13, "entities.organization.match"),
        (16, "entities.organization.fields.email: Failed to parse at character 12"),
    ]
    assert said.splitlines()[-1] == "7 problems"


def test_json_has_the_same(file: Path) -> None:
    file.write_text(BAD)

    code, said = ran(file, "--json")

    answer = json.loads(said)
    assert (code, answer["ok"], len(answer["problems"])) == (1, False, 7)
    stage = next(one for one in answer["problems"] if one["line"] == 8)
    assert stage["path"] == "stages.Sales: EU/Lead.In"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("flow: a\nflow: b\n", 2, 'found duplicate key "flow"'),
        ("flow:\n\tcompany: a\n", 2, "a tab: YAML is indented with spaces"),
        ("flow: a\n---\nflow: b\n", 2, "a second document begins here"),
        ("a:\n  b: 1\n c: 2\n", 3, "this is not indented as what it belongs to"),
        ("a: b: c\n", 1, "not indented as what it belongs to, or a text with `: ` in it needs quotes"),
        ('a: "b\n', 2, "a quote or a bracket was not closed"),
        ("a: *b\n", 1, "found undefined alias 'b'"),
        ("a: !!python/object:os.system x\n", 1, "tags (`!...`) are not read"),
        ("a: 2026-13-45\n", 1, "not YAML (month must be in 1..12)"),
        ("a: \x00\n", 1, "a control character at position 3"),
        ("{" * 5_000, 1, "nested too deeply"),
        ("- a\n", 1, "a flow starts with 'flow: <name>'"),
        ("", 1, "a flow starts with 'flow: <name>'"),
        ("a: &a {b: *a}\n", 1, "with its aliases written out it has more than 20000 values"),
        ("a: &a [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1 or ''}, *a{n - 1 or ''}]\n" for n in range(1, 40)), 1, "with"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_flow_at_all_is_said_clearly(file: Path, text: str, line: int, says: str) -> None:
    file.write_text(text)

    code, said = ran(file)

    assert code == 1
    assert said.startswith(f"{file}:{line}: {says}"), said


def test_file_of_five_megabytes_is_not_even_read(file: Path) -> None:
    file.write_bytes(b"a: 1\n" * 1_000_000)

    assert ran(file) == (1, f"{file}:1: a flow has at most {MAX_BYTES // 1024} KiB\n1 problem\n")


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b"flow: \xff\n")

    assert ran(file)[1].startswith(f"{file}:1: not a text in UTF-8")


def test_file_that_is_not_there_is_a_wrong_command(file: Path) -> None:
    code, said = ran(file)

    assert (code, said) == (2, f"mlc: there is no file {file}\n")


def test_aliases_within_reason_are_read(file: Path) -> None:
    file.write_text(GOOD + "      phone: &phone primary(data.phones)\n      fax: *phone\n")

    assert ran(file)[0] == 0


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_is_in_a_file_is_a_document_or_an_invalid_flow(tmp_path_factory: Any, text: str) -> None:
    file = tmp_path_factory.mktemp("any") / "flow.yaml"
    file.write_text(GOOD + text, encoding="utf-8", errors="replace")
    try:
        document, lines = read_flow_file(file)
    except InvalidFlow:
        return

    assert isinstance(document, dict)
    assert 1 <= lines.find(f"flow: {text}").line <= 3 + text.count("\n")


def test_line_of_what_is_not_there_is_that_of_what_holds_it(file: Path) -> None:
    file.write_text(GOOD)
    _, lines = read_flow_file(file)

    assert isinstance(lines, Lines)
    assert lines.place("entities.organization.fields.x: what") == f"{file}:10: entities.organization.fields.x: what"
    assert lines.find("no path at all").line == 1
