"""What is only looked at: ask the admin service, then print its JSON, or show it. The options and the end of a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.table import Table

from ml_connector.cli.admin_api import AdminApi, Answer
from ml_connector.cli.showing import counted, hint, show, tell, tell_behind

Limit = Annotated[int, typer.Option(min=1, help="How many at most.")]
OfFlow = Annotated[str | None, typer.Option(help="Only of this flow.")]


def look(ask: Callable[[AdminApi], Answer], tell_people: Callable[[Answer], None], *, as_json: bool) -> None:
    with AdminApi.here() as api:
        answer = ask(api)
    tell(answer) if as_json else tell_people(answer)


def show_page(made: Table, answer: Answer, noun: str) -> None:
    """The table, a row for each `noun`, and whether these are all."""
    show(made)
    hint(counted(made.row_count, noun) + ("; there are more: --limit N" if answer.get("next") is not None else ""))
    tell_behind(answer)
