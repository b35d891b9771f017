"""Every answer that is no success: one form, `Problem`, which says what, where and what to do. Never the input."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from ml_connector.admin.identity.roles import NotAllowed, Unauthenticated
from ml_connector.admin.replay.control import Conflict, NotFound
from ml_connector.common.errors import BadInput, ConnectorError, InvalidFlow, TryLater
from ml_connector.common.logs import get_logger

log = get_logger()


class Detail(BaseModel):
    """One problem and its place in the request, as `query.state` or `body.selection.ids.0`."""

    path: str
    problem: str


class Problem(BaseModel):
    """Why there is no other answer."""

    problem: str
    details: list[Detail] = []

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "problem": "the request is not valid",
                    "details": [
                        {"path": "query.state", "problem": "Input should be 'open', 'resolved' or 'discarded'"}
                    ],
                }
            ]
        }
    }


class Ambiguous(Conflict):
    """Several are meant; `details` says how to call each."""

    def __init__(self, problem: str, details: list[Detail]) -> None:
        super().__init__(problem)
        self.details = details


_WHY: Final = {
    401: "no token, or one that is not valid",
    403: "the token's roles do not allow it",
    404: "there is nothing of this id",
    409: "not in its present state, which the problem names",
    413: "the request is too large",
    422: "the request is not valid: where, and what is allowed",
    503: "not now: try again",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's OpenAPI."""
    return {status: {"model": Problem, "description": _WHY[status]} for status in (401, 403, 422, 503, *statuses)}


def install(app: FastAPI) -> None:
    """What is raised becomes an answer."""
    for kind, status in (
        (Unauthenticated, 401),
        (NotAllowed, 403),
        (NotFound, 404),
        (Conflict, 409),
        (BadInput, 422),
        (TryLater, 503),
    ):
        app.add_exception_handler(kind, _answering(status))
    app.add_exception_handler(InvalidFlow, _invalid_flow)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(DBAPIError, _database)


def _answering(status: int) -> Any:
    async def answer(_: Request, error: ConnectorError) -> JSONResponse:
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        if isinstance(error, TryLater):
            headers["retry-after"] = str(round(error.after_s or 5))
        details = error.details if isinstance(error, Ambiguous) else []
        return problem(status, str(error), details, headers=headers)

    return answer


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    details = [Detail(path=".".join(map(str, one["loc"])), problem=one["msg"]) for one in found]
    return problem(422, "the request is not valid", details)


async def _invalid_flow(_: Request, error: Exception) -> JSONResponse:
    problems = error.problems if isinstance(error, InvalidFlow) else []
    parts = [one.partition(": ") for one in problems]
    details = [Detail(path=path, problem=what) if what else Detail(path="", problem=path) for path, _, what in parts]
    return problem(422, "the flow does not hold", details)


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 400:  # FastAPI's answer to bytes that are no text
        return problem(422, "the request is not valid", [Detail(path="body", problem="not JSON in UTF-8")])
    text = {404: "there is no such path", 405: "not by this method"}.get(error.status_code, "refused")
    return problem(error.status_code, text, headers=dict(error.headers or {}))


async def _database(_: Request, error: Exception) -> JSONResponse:
    log.error("database_failed", error=type(error).__name__)
    return problem(503, "the database does not answer: try again", headers={"retry-after": "5"})


def problem(
    status: int, text: str, details: list[Detail] | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    body = Problem(problem=text, details=details or [])
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)
