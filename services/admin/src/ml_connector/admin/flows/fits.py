"""Does a flow that is about to be applied fit the company's custom fields and stages? Asked of the company's owner."""

from __future__ import annotations

from typing import Final, NamedTuple

from ml_connector.admin.owners import NoAnswer, Owners
from ml_connector.common import topics
from ml_connector.common.asking import Check, Checked
from ml_connector.common.flows import Flow, document_of

WITHIN_S: Final = 15.0  # somebody waits; a company that is not reachable must not keep its flow from being applied
_PATHS: Final = {"pipedrive.fields": "entities", "pipedrive.stages": "stages"}


class Fit(NamedTuple):
    """`problems` as those of a flow; `unchecked`: why there was no looking, empty when there was."""

    problems: tuple[str, ...] = ()
    unchecked: str = ""


class Fits:
    def __init__(self, owners: Owners) -> None:
        self._owners = owners

    async def of(self, flow: Flow) -> Fit:
        """Raises TryLater when the broker does not take the question."""
        try:
            answer = await self._owners.ask(
                topics.PIPEDRIVE_REQUESTS,
                flow.pipedrive.company,
                "check",
                body=Check(flow=flow.flow, document=document_of(flow)).encode(),
                answer=Checked,
                within_s=WITHIN_S,
            )
        except NoAnswer as error:
            return Fit(unchecked=str(error))
        return fit_of(answer)


def fit_of(answer: Checked) -> Fit:
    """What was looked at and does not fit is a problem; what could not be looked at is none."""
    lacking = [one for one in answer.findings if one.check not in _PATHS and one.result == "failed"]
    problems = tuple(
        f"{_PATHS[one.check]}: {one.says}: {one.fix}"
        for one in answer.findings
        if one.check in _PATHS and one.result == "failed"
    )
    return Fit(unchecked=lacking[0].says) if lacking else Fit(problems)
