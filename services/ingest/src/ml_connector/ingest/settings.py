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
    body_deadline_s: Annotated[
        float, Field(gt=0, lt=10, description="a body must have arrived after this long, else 408")
    ] = 5.0
    ack_deadline_s: Annotated[
        float,
        Field(
            gt=0,
            lt=9,
            description="the broker must have acknowledged after this long, else 503; Pipedrive gives up at 10 s",
        ),
    ] = 3.0
    header_deadline_s: Annotated[
        float, Field(gt=0, description="a connection must have sent its headers after this long")
    ] = 5.0
    drain_s: Annotated[float, Field(gt=0, description="how long requests in flight may take to end after SIGTERM")] = (
        10.0
    )
