"""What the parts of one account share."""

from __future__ import annotations

from dataclasses import dataclass

from ml_connector.netsuite_writer.job import Tools
from ml_connector.netsuite_writer.schedule import Schedule
from ml_connector.netsuite_writer.standings import Standings
from ml_connector.netsuite_writer.suspensions import Suspensions
from ml_connector.netsuite_writer.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Shared:
    """Of one account, within one assignment of its partition. `account`: its name, in small letters."""

    account: str
    schedule: Schedule
    standings: Standings
    suspensions: Suspensions
    tasks: Tasks
    tools: Tools
