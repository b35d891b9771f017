"""`mlc reconcile`: compare NetSuite with what Pipedrive holds, after saying what it costs; tell what differs; mend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ml_connector.cli.admin_api import AdminApi
from ml_connector.cli.options import Reason, each_of, flow_name, takes
from ml_connector.cli.reconcile_files import refuse_unwritable
from ml_connector.cli.reconciles import As, Format, exit_code, follow, mend, write
from ml_connector.cli.say import plainly
from ml_connector.cli.showing import hint, say, tell
from ml_connector.cli.syncing import EntityName, Start, agreed, show_plan
from ml_connector.common.errors import BadInput


@dataclass(frozen=True, slots=True)
class Compared:
    """Which objects."""

    entity: Annotated[list[EntityName] | None, typer.Option(help="Only this one. Repeatable.")] = None
    ids: Annotated[
        list[str] | None, typer.Option(help="These of one --entity, comma separated. Repeatable.", metavar="IDS")
    ] = None
    share: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="Of the flow's daily tokens: read only within it (0.5).")
    ] = None

    def body(self) -> dict[str, Any]:
        """Raises BadInput."""
        ids = each_of(self.ids)
        if self.ids is not None and not ids:
            raise BadInput("--ids: say which")
        body = {"entities": [one.value for one in self.entity or []], "ids": ids}
        return body if self.share is None else {**body, "token_share": self.share}


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of it."""

    fix: Annotated[bool, typer.Option("--fix", help="Then re-issue what a sync can mend, after showing it.")] = False
    as_: As = Format.text
    output: Annotated[Path | None, typer.Option(help="Write the report into this new file.", metavar="FILE")] = None
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would cost.")] = False
    yes: Annotated[bool, typer.Option("--yes", help="Start without being asked; with --fix, mend without it.")] = False

    def refuse_unfit(self) -> None:
        """Raises BadInput."""
        if self.detach and (self.fix or self.output is not None):
            raise BadInput("--detach does not wait for a report: leave out --fix and --output")
        if self.fix and self.as_ is not Format.text and self.output is None:
            raise BadInput("--fix speaks on standard output: give the report a file with --output")
        refuse_unwritable(self.output)


@plainly
@takes(what=Compared, then=Ending)
def reconcile(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    what: Compared,
    then: Ending,
    reason: Reason = "",
) -> None:
    """Compare NetSuite with what Pipedrive holds and tell what differs, and why. Changes nothing without --fix.

    Exit code 0: everything is as it should be; 1: something is not.
    """
    then.refuse_unfit()
    body = {"flow": flow_name(flow), "reason": reason, **what.body()}
    aloud = then.as_ is Format.text
    with AdminApi.here() as api:
        if then.dry_run or not (then.yes and not aloud):
            planned = api.post("reconciles", {**body, "dry_run": True})
            if then.dry_run and then.as_ is Format.json:
                tell(planned)
                return
            show_plan(planned["plan"], unknown="three a thousand", aside=not aloud)
        if then.dry_run:
            return
        if not then.yes:
            agreed()
        made = api.post("reconciles", body)["reconcile"]
        if then.detach:
            say(f"reconcile {made['id']} is running")
            hint(f"to follow it: mlc reconciles watch {made['id']}")
            return
        ended = follow(api, made)
        write(api, ended, then.as_, then.output)
        if then.fix and ended["state"] == "done" and not ended["clean"]:
            mend(api, ended["id"], Start(yes=then.yes, follow=True), reason=reason)
    raise typer.Exit(exit_code(ended))
