"""What the routes work with, and who may call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from ml_connector.admin.books import Books
from ml_connector.admin.checks import Checks
from ml_connector.admin.connect.connect import Connects
from ml_connector.admin.database import Database
from ml_connector.admin.drift.polls import Polls
from ml_connector.admin.flows.change import Flows
from ml_connector.admin.flows.look import FlowLooks
from ml_connector.admin.flows.preview import FlowPreviews
from ml_connector.admin.identity.roles import Actor, NotAllowed, Role
from ml_connector.admin.letter_acts import LetterActs
from ml_connector.admin.letter_bytes import LetterBytes
from ml_connector.admin.materialize import Materializer
from ml_connector.admin.outbox import Outbox
from ml_connector.admin.reconcile.fix import Fixes
from ml_connector.admin.replay.control import Replays
from ml_connector.admin.schedule.kinds import Kinds
from ml_connector.admin.secrets.change import Secrets
from ml_connector.admin.secrets.look import SecretLooks
from ml_connector.admin.secrets.rotate import Rotation
from ml_connector.admin.sync.control import Syncs
from ml_connector.admin.webhooks.ask import FlowWebhooks
from ml_connector.admin.webhooks.rotate import WebhookRotation
from ml_connector.common.clock import Clock


@dataclass(frozen=True, slots=True)
class Services:
    """Made in `app.py`."""

    database: Database
    materializer: Materializer
    outbox: Outbox
    letters: LetterBytes
    letter_acts: LetterActs
    replays: Replays
    syncs: Syncs
    polls: Polls
    kinds: Kinds
    fixes: Fixes
    books: Books
    flows: Flows
    flow_looks: FlowLooks
    flow_previews: FlowPreviews
    secrets: Secrets
    secret_looks: SecretLooks
    rotation: Rotation
    checks: Checks
    webhooks: FlowWebhooks
    webhook_rotation: WebhookRotation
    connects: Connects
    clock: Clock


def services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


_bearer = HTTPBearer(auto_error=False, description="a JWT of the configured issuer")


def _allow(least: Role) -> Callable[[Request], Actor]:
    def actor(request: Request, _: Annotated[object, Depends(_bearer)] = None) -> Actor:
        found: Actor = request.state.actor  # whom `identity.door` let in
        if found.role < least:
            raise NotAllowed(f"this needs the role {least.name}; yours is {found.role.name}")
        return found

    return actor


Given = Annotated[Services, Depends(services)]
Viewer = Annotated[Actor, Depends(_allow(Role.viewer))]
Operator = Annotated[Actor, Depends(_allow(Role.operator))]
Admin = Annotated[Actor, Depends(_allow(Role.admin))]
