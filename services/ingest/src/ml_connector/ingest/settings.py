"""What ingest reads from its environment, beyond the common settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ml_connector.common.settings import Settings


class IngestSettings(Settings):
    """Sizes in bytes, times in seconds."""

    max_body_bytes: Annotated[
        int, Field(ge=1024, description="a larger webhook body is refused with 413; real ones have some KiB")
    ] = 1024 * 1024
    body_deadline_s: Annotated[float, Field(gt=0, lt=10, description="a body that takes longer is answered 408")] = 5.0
    ack_deadline_s: Annotated[
        float,
        Field(gt=0, lt=9, description="an event the broker has not by then is answered 503; Pipedrive waits 10 s"),
    ] = 3.0
    header_deadline_s: Annotated[float, Field(gt=0, description="headers that take longer close the connection")] = 5.0
    drain_s: Annotated[float, Field(gt=0, description="how long requests may take to end after SIGTERM")] = 10.0
