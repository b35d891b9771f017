"""What the writer reads from its environment, beyond the common settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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
    suspend_s: Annotated[
        float, Field(gt=0, description="first pause of an account whose credentials NetSuite refuses, before a probe")
    ] = 30.0
    suspend_longest_s: Annotated[
        float, Field(gt=0, description="longest pause between two probes of a suspended account")
    ] = 60.0
    outage_run: Annotated[
        int,
        Field(ge=1, description="requests in a row without an answer, or with a server error, that suspend an account"),
    ] = 10
    flood_run: Annotated[
        int, Field(ge=2, description="rejections alike in a row, without a record written, that halt a flow")
    ] = 25
    flood_ratio: Annotated[
        float, Field(gt=0, le=1, description="and their share of the flow's last 100 records, at least")
    ] = 0.9
    hold_s: Annotated[
        float, Field(ge=0, description="how long an unanswered request counts as in flight: after a time-out, a crash")
    ] = 5.0
    turns_live: Annotated[int, Field(ge=1, description="of the turns, with work in every lane, for live events")] = 12
    turns_replay: Annotated[int, Field(ge=1, description="for replays")] = 3
    turns_backfill: Annotated[int, Field(ge=1, description="for backfills")] = 1
    batch_from: Annotated[
        int, Field(ge=2, description="records of one type and lane that wait before a batch is worth its requests")
    ] = 100
    batch_size: Annotated[int, Field(ge=2, le=100, description="records of one batch; NetSuite takes 100")] = 100
    batch_parallel: Annotated[bool, Field(description="NetSuite may write the records of a batch side by side")] = True
    jobs_at_once: Annotated[
        int,
        Field(
            ge=0, description="batches of one account under way: as many as NetSuite runs at once; 0: single calls only"
        ),
    ] = 1
    batch_doubtful: Annotated[
        Literal["results", "calls"],
        Field(description="what the read-back leaves open is read from the job's results, or written again singly"),
    ] = "results"
    hydrate_again_s: Annotated[
        float, Field(gt=0, description="an unanswered hydrate is asked again after this long")
    ] = 300.0
    drain_s: Annotated[
        float,
        Field(gt=0, le=25, description="how long requests in flight may take to end when a partition is given up"),
    ] = 20.0
