"""docs/flows.md explains every key of a flow, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from ml_connector.common.flow_lines import places
from ml_connector.common.flows import Flow

TEXT = (Path(__file__).parents[3] / "docs" / "flows.md").read_text()


def test_every_key_is_explained_and_no_other() -> None:
    explained = set(re.findall(r"^\| `([a-z_.*]+)` \| .+ \|$", TEXT, re.MULTILINE))
    keys = set(places(Flow))
    groups = {key for key in keys if any(other.startswith(f"{key}.") and "*" not in other for other in keys)}

    assert explained == keys - groups
