"""Ask a service whatever its OpenAPI document allows, and what it forbids: one test for each operation.

The tests that schemathesis itself makes all have the same name, of which pytest in several processes would run one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def each_operation(schema: BaseSchema) -> pytest.MarkDecorator:
    """Gives a test its `operation`."""
    found = list(schema.get_all_operations())
    operations = [one.ok() for one in found if isinstance(one, Ok)]
    assert len(operations) == len(found), "an operation that schemathesis does not understand"
    return pytest.mark.parametrize("operation", [pytest.param(one, id=one.label) for one in operations])


def ask(
    operation: APIOperation[Any, Any, Any, Any], send: Callable[[schemathesis.Case[Any]], None], *, requests: int
) -> None:
    """So many random ones, the same in each run."""

    @settings(
        max_examples=requests,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(operation.as_strategy())
    def sent(case: schemathesis.Case[Any]) -> None:
        send(case)

    sent()
