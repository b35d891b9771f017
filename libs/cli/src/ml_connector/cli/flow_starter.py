"""The flow that somebody starts from: `flow_starter.yaml` with its names filled in."""

from __future__ import annotations

import io
from importlib import resources
from string import Template

from ruamel.yaml import YAML

from ml_connector.common.errors import BadInput, InvalidFlow
from ml_connector.common.flows import environment_of, parse_flow


def starter(*, flow: str, company: str, account: str, prefix: str) -> str:
    """As YAML. The environment is the account's. Raises BadInput for a name that does not fit."""
    names = {"flow": flow, "company": company, "account": account, "prefix": prefix}
    text = resources.files("ml_connector.cli").joinpath("flow_starter.yaml").read_text(encoding="utf-8")
    template = YAML(typ="safe").load(io.StringIO(text))
    pipedrive = template["pipedrive"] | {"company": company}
    netsuite = template["netsuite"] | {"account": account}
    environment = environment_of(account)
    try:  # before anything of it becomes YAML
        parse_flow(
            template
            | {"flow": flow, "environment": environment, "external_ids": prefix}
            | {"pipedrive": pipedrive, "netsuite": netsuite}
        )
    except InvalidFlow as error:
        raise BadInput("; ".join(error.problems)) from error
    return Template(text).substitute(names, environment=environment)
