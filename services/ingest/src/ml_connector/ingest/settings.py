"""What ingest reads from its environment, beyond the common settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, IPvAnyNetwork

from ml_connector.common.settings import Settings


class IngestSettings(Settings):
    """Sizes in bytes, times in seconds."""

    max_body_bytes: Annotated[
        int,
        Field(
            ge=1024,
            le=5 * 1024 * 1024,
            description="a larger webhook body is refused with 413; real ones have some KiB",
        ),
    ] = 1024 * 1024
    max_buffered_bytes: Annotated[
        int, Field(ge=1024, description="bodies that are being received, all together; beyond it 503")
    ] = 64 * 1024 * 1024
    max_connections: Annotated[
        int, Field(ge=1, description="connections at once; beyond it who came first and sent nothing good is ended")
    ] = 16_384
    trusted_proxies: Annotated[
        tuple[IPvAnyNetwork, ...],
        Field(description="networks of our own proxies, as JSON; only their X-Forwarded-For is believed"),
    ] = ()
    body_deadline_s: Annotated[float, Field(gt=0, lt=10, description="a body that takes longer is answered 408")] = 5.0
    ack_deadline_s: Annotated[
        float,
        Field(gt=0, lt=9, description="an event the broker has not by then is answered 503; Pipedrive waits 10 s"),
    ] = 3.0
    header_deadline_s: Annotated[float, Field(gt=0, description="headers that take longer close the connection")] = 5.0
    farewell_s: Annotated[
        float,
        Field(
            ge=0, description="between SIGTERM and the end of listening: not ready, every answer ends its connection"
        ),
    ] = 1.0
    drain_s: Annotated[float, Field(gt=0, description="how long requests may take to end after SIGTERM")] = 10.0
