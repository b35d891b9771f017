"""What a flow logs in with is what it needs: no more is kept from being deleted, and no less."""

from __future__ import annotations

import pytest

from ml_connector.admin.flows.look import Known
from ml_connector.admin.secrets.look import use_of
from ml_connector.common.flows import ActiveFlow, FlowVersion
from support.office import DOCUMENT


def needed(**netsuite: str) -> set[str]:
    """Of the account."""
    document = {**DOCUMENT, "netsuite": {**DOCUMENT["netsuite"], **netsuite}}
    version = FlowVersion(flow="f", version=1, document=document, applied_at_ms=0, applied_by="test")
    keys = use_of(Known(ActiveFlow(flow="f", version=1, revision=1, paused=False), version)).keys
    return {key.rpartition("/")[2] for key in keys if key.startswith("netsuite/")}


@pytest.mark.parametrize("auth", ["oauth2-m2m", "tba"])
def test_flow_needs_the_credential_of_its_login_at_netsuite(auth: str) -> None:
    assert needed(auth=auth) == {auth}


def test_flow_that_names_no_login_needs_the_certificate() -> None:
    assert needed() == {"oauth2-m2m"}


def test_flow_without_webhooks_needs_no_key_for_them() -> None:
    pipedrive = {**DOCUMENT["pipedrive"], "events": "none"}
    version = FlowVersion(
        flow="f", version=1, document={**DOCUMENT, "pipedrive": pipedrive}, applied_at_ms=0, applied_by="t"
    )

    keys = use_of(Known(ActiveFlow(flow="f", version=1, revision=1, paused=False), version)).keys

    assert not [key for key in keys if key.startswith("flow/")] and len(keys) == 2
