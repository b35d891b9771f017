"""The Pipedrive stand-in as a process of its own."""

from __future__ import annotations

from typing import Any

from support.standin import StandInProcess


class PipedriveProcess(StandInProcess):
    """`with PipedriveProcess() as process:`. `clock_speed`: seconds of its clock in one real second."""

    def __init__(self, *, clock_speed: float = 1.0, permitted_users: int = 3) -> None:
        super().__init__("pipedrive", {"CLOCK_SPEED": clock_speed, "PERMITTED_USERS": permitted_users})

    def company(self, name: str, **terms: Any) -> str:
        """Register a company; its API token."""
        token = f"token-of-{name}"
        self.admin("POST", "companies", {"company": name, "company_id": 8087566, "api_token": token, **terms})
        return token
