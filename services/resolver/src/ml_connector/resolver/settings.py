"""What the resolver reads from its environment, beyond the common settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ml_connector.common.settings import Settings


class ResolverSettings(Settings):
    """Times in seconds."""

    request_timeout_s: Annotated[float, Field(gt=0, description="how long one Pipedrive request may take")] = 10.0
    deferred_s: Annotated[float, Field(gt=0, description="how long an event is put aside when Pipedrive fails")] = 300.0
    renew_s: Annotated[
        float, Field(gt=0, description="what has been put aside for this long is written to its topic again")
    ] = 3600.0
    probe_first_s: Annotated[float, Field(gt=0, description="first pause before a failing company is probed")] = 5.0
    probe_longest_s: Annotated[float, Field(gt=0, description="longest pause between two probes")] = 300.0
    webhooks_look_s: Annotated[
        float, Field(gt=0, le=1500, description="how often webhooks are listed, to see a ban, which lasts 1800 s")
    ] = 900.0
    reread_s: Annotated[float, Field(ge=0, description="definitions of one entity are read at most this often")] = 60.0
