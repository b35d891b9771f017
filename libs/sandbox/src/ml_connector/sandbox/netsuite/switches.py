"""What differs from account to account, and what Oracle's documents leave open: each a named switch.

The defaults are what the documents say, or the stricter reading where they are silent. docs/unproven.md lists the
open questions.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ml_connector.sandbox.netsuite.schema import CUSTOM_FIELDS, MULTI_CURRENCY


def _custom_field(name: str) -> str:
    if not any(name in fields for fields in CUSTOM_FIELDS.values()):
        raise ValueError(f"no record type has a custom field {name}")
    return name


class Switches(BaseModel):
    """Set per account, at registration or later."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    # -- the account's contract (Oracle bridgehead_1500275603) --
    tier: Literal["standard", "premium", "enterprise"] = "standard"
    licences: Annotated[int, Field(ge=0, description="SuiteCloud Plus; each grants 10 more requests in flight")] = 0
    concurrency_limit: Annotated[int | None, Field(ge=1, description="wins over tier and licences")] = None
    integration_limit: Annotated[int | None, Field(ge=1, description="allocated to this integration alone")] = None
    others_in_flight: Annotated[int, Field(ge=0, description="slots that other integrations hold now")] = 0
    async_processors: Annotated[int, Field(ge=1, description="jobs that run at once")] = 1
    parallel_width: Annotated[int, Field(ge=1, description="records of a parallel batch that run at once")] = 5

    # -- preferences that its administrator sets --
    oneworld: bool = True
    auto_numbering: Annotated[bool, Field(description="entity ids are made, not taken from the name")] = True
    unique_contact_names: bool = False
    multi_currency: Annotated[bool, Field(description="without the feature nothing has a currency")] = True
    mandatory_custom_fields: Annotated[
        tuple[Annotated[str, AfterValidator(_custom_field)], ...], Field(description="no record is saved without them")
    ] = ()
    job_retention_s: Annotated[float, Field(gt=0)] = 24 * 3600

    # -- what no document settles --
    overload_answer: Literal["429", "400", "masked_login"] = "429"
    masked_login_after_s: Annotated[float, Field(ge=0, description="clients saw about 61 s")] = 0.0
    retry_after_s: Annotated[int | None, Field(ge=0, description="sent with a 429")] = None
    opportunity_upsert: Annotated[bool, Field(description="PUT /opportunity/eid:... works")] = True
    references_by_external_id: bool = True
    field_names_any_case: Annotated[bool, Field(description="Oracle's printed POST has `companyname`")] = True
    value_validation: Annotated[Literal["error", "warning"], Field(description="without the header")] = "error"
    duplicate_name_code: Literal["USER_ERROR", "UNIQUE_CUST_ID_REQD"] = "USER_ERROR"
    job_location: Literal["absolute", "relative"] = "absolute"
    task_list: Annotated[
        Literal["item_per_task", "one_item"], Field(description="one_item: as printed, all self links in one item")
    ] = "item_per_task"
    failed_result: Annotated[
        Literal["error_status", "ok_status"], Field(description="the HTTP status of a failed record's result")
    ] = "error_status"
    failed_progress: Literal["failed", "error", "succeeded"] = "failed"
    batch_stops_at_failure: bool = False
    async_takes_slots: Annotated[bool, Field(description="running asynchronous work counts as in flight")] = False
    null_columns: Annotated[Literal["absent", "null"], Field(description="of a SuiteQL row")] = "absent"
    utc_offset_h: Annotated[float, Field(ge=-12, le=14, description="of the account's times in SuiteQL")] = 0.0
    max_query_page: Annotated[Literal[1000, 3000], Field(description="largest SuiteQL limit")] = 1000

    @property
    def hidden(self) -> frozenset[str]:
        """Fields that the account does not have."""
        return frozenset() if self.multi_currency else MULTI_CURRENCY

    @property
    def slots(self) -> int:
        """Requests in flight that the account grants to all its integrations together."""
        if self.concurrency_limit is not None:
            return self.concurrency_limit
        return {"standard": 5, "premium": 15, "enterprise": 20}[self.tier] + 10 * self.licences
