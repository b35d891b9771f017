"""What the writer reads from its environment, beyond the common settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from ml_connector.common.settings import Settings


class WriterSettings(Settings):
    """Times in seconds."""

    store_dir: Annotated[
        Path, Field(description="folder of the local stores, one file per partition; only a cache")
    ] = Path("var/netsuite-writer")
    request_timeout_s: Annotated[float, Field(gt=0, description="how long one NetSuite request may take")] = 60.0
    session_timeout_s: Annotated[
        float, Field(ge=1, description="a process that the broker does not hear of for this long loses its partitions")
    ] = 10.0
    quiet_s: Annotated[
        float,
        Field(
            ge=0, description="after this long NetSuite executes no unanswered request any more (Oracle cuts at 900 s)"
        ),
    ] = 900.0
    backoff_first_s: Annotated[
        float, Field(gt=0, description="upper bound of the first pause after a transient failure")
    ] = 0.5
    backoff_longest_s: Annotated[float, Field(gt=0, description="upper bound of any pause between two tries")] = 60.0
    tries: Annotated[
        int,
        Field(ge=1, description="transient failures of one record, while others succeed, before it is dead-lettered"),
    ] = 8
    overload_pause_s: Annotated[
        float, Field(gt=0, description="longest pause of an account after NetSuite refused a request for concurrency")
    ] = 1.0
    suspend_s: Annotated[
        float, Field(gt=0, description="pause of an account whose credentials NetSuite refuses, before the next probe")
    ] = 30.0
    hydrate_again_s: Annotated[
        float, Field(gt=0, description="an unanswered hydrate is asked again after this long")
    ] = 300.0
    drain_s: Annotated[
        float,
        Field(gt=0, le=25, description="how long requests in flight may take to end when a partition is given up"),
    ] = 20.0
