"""A reconcile for other programs: JSON and CSV, written record by record as they are read.

A cell that a spreadsheet would take for a formula begins with an apostrophe (OWASP: CSV injection). A file is made for
its owner alone, since it holds customers' values, and none is overwritten.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from ml_connector.cli.admin_api import PAGE, AdminApi, Answer
from ml_connector.common.errors import BadInput

COLUMNS: Final = (
    "entity",
    "pipedrive_id",
    "netsuite_id",
    "external_id",
    "found",
    "field",
    "should_be",
    "is",
    "cut",
    "cause",
    "certain",
    "other_causes",
    "reason",
    "changed_in_netsuite",
    "written_at",
    "dead_letter",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?\Z")


@contextmanager
def written_to(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a new file. Raises BadInput."""
    if output is None:
        yield sys.stdout
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"{output} cannot be made ({error.strerror}): name another file with --output") from error
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        yield file


def refuse_unwritable(output: Path | None) -> None:
    """Before anything is begun. Raises BadInput."""
    if output is not None and output.exists():
        raise BadInput(f"{output} is there already: name another file with --output")
    if output is not None and not output.parent.is_dir():
        raise BadInput(f"there is no folder {output.parent}: make it, or name another file with --output")


def results_of(api: AdminApi, job_id: str, query: Answer | None = None) -> Iterator[Answer]:
    """All of them, page by page."""
    asked = dict(query or {})
    while True:
        page = api.get(f"reconciles/{job_id}/results", {**asked, "limit": PAGE})
        yield from page["results"]
        if page["next"] is None:
            return
        asked["cursor"] = page["next"]


def write_json(file: TextIO, reconcile: Answer, results: Iterator[Answer]) -> None:
    """One object, with a record on each line."""
    file.write('{"reconcile": ' + json.dumps(reconcile) + ', "results": [')
    for number, one in enumerate(results):
        file.write((",\n" if number else "\n") + json.dumps(one))
    file.write("\n]}\n")


def write_csv(file: TextIO, results: Iterator[Answer]) -> None:
    """A row for each field, one for a record without any."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for one in results:
        for field in one["fields"] or [{}]:
            writer.writerow([cell(value) for value in _row(one, field)])


def cell(value: object) -> str:
    """As a text that no spreadsheet acts on."""
    if isinstance(value, dict) and set(value) == {"id"}:
        value = value["id"]
    if isinstance(value, dict | list):
        value = json.dumps(value)
    text = "" if value is None else str(value)
    harmless = not text.lstrip(" ").startswith(_FORMULA) or _NUMBER.match(text)
    return text if harmless else f"'{text}"


def _row(one: Answer, field: Answer) -> tuple[Any, ...]:
    first = one["causes"][0] if one["causes"] else {}
    return (
        one["entity"],
        one["source_id"],
        one["netsuite_id"],
        one["external_id"],
        one["found"],
        field.get("field"),
        field.get("should"),
        field.get("holds"),
        "yes" if field.get("cut") else "",
        first.get("cause"),
        ("yes" if first["certain"] else "no") if first else "",
        " ".join(cause["cause"] for cause in one["causes"][1:]),
        one["reason"],
        one["modified"],
        one["written_at"],
        one["dead_letter"],
    )
