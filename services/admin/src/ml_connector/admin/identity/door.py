"""Nobody gets past without a token that is believed: what lies behind need not think of it.

Raw ASGI, before a body is read. Who was let in stands in `scope["state"]["actor"]`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from ml_connector.admin.api.problems import problem
from ml_connector.admin.identity.roles import NotAllowed, Unauthenticated
from ml_connector.admin.identity.tokens import Verifier
from ml_connector.common.errors import TryLater


class Door:
    """`public`: paths that anybody may ask."""

    def __init__(self, app: ASGIApp, verifier: Verifier, *, public: frozenset[str]) -> None:
        self._app = app
        self._verifier = verifier
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._public):
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        try:
            actor = await self._verifier.verify(given[0].decode("latin-1") if len(given) == 1 else None)
        except Unauthenticated as error:
            refusal = problem(401, str(error), headers={"www-authenticate": "Bearer"})
        except NotAllowed as error:
            refusal = problem(403, str(error))
        except TryLater as error:
            refusal = problem(503, str(error), headers={"retry-after": "5"})
        else:
            await self._app({**scope, "state": {**scope.get("state", {}), "actor": actor}}, receive, send)
            return
        await refusal(scope, receive, send)
