"""What a flow says (DESIGN section 5): one Pipedrive company, one NetSuite account, one mapping. Pure.

In: a document as YAML or JSON has it. Out: a `Flow`, or `InvalidFlow` with every problem and where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, model_validator

from ml_connector.common.addresses import host_of, literal_of
from ml_connector.common.codec import Wire
from ml_connector.common.errors import AddressRefused, InvalidFlow
from ml_connector.common.expressions import compile_expression
from ml_connector.common.keys import Entity, RecordType

Environment = Literal["sandbox", "production"]
Verification = Literal["hmac-sha256", "basic", "both"]

_ACCOUNT = re.compile(r"[A-Z0-9]+(_(?!SB)[A-Z0-9]+|_SB[0-9]+)?")  # _SB without a number: sandbox or not?
_SANDBOX_ACCOUNT = re.compile(r"_SB[0-9]+\Z")
# What looks like an account in any host; fewer or more digits are something else (a cloud's account has twelve).
_ACCOUNT_IN_HOST = re.compile(r"(?<![a-z0-9])(tstdrv)?[0-9]{6,8}(-(sb[0-9]+|rp))?(?![a-z0-9])")


def environment_of(account: str) -> Environment:
    """An account id with an `_SB<n>` suffix is a sandbox, any other is production."""
    return "sandbox" if _SANDBOX_ACCOUNT.search(account) else "production"


def is_account(text: str) -> bool:
    """Written as NetSuite writes account ids: `1234567`, `1234567_SB1`, `1234567_RP`."""
    return _ACCOUNT.fullmatch(text) is not None


def _read_account(text: str) -> str:
    if not is_account(text):
        raise ValueError("an account id is in capitals, without spaces: 1234567, or 1234567_SB1 for a sandbox")
    return text


def _leads_somewhere(url: str) -> str:
    try:
        host_of(url)
    except AddressRefused as error:
        raise ValueError(str(error)) from error
    return url


def _compiles(source: Any) -> Any:
    if isinstance(source, str):
        compile_expression(source)
    return source


# A text is an expression; any other YAML scalar is the value itself.
FieldExpression = Annotated[str | bool | int | float | None, AfterValidator(_compiles)]
BaseUrl = Annotated[str, AfterValidator(_leads_somewhere)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
StatusId = Annotated[str, Field(pattern=r"^[0-9]{1,10}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Webhook(_Part):
    """How a delivery proves where it comes from. Pipedrive itself offers Basic only; hmac needs a signing relay."""

    verify: Verification = "hmac-sha256"
    allow_from: tuple[IPvAnyNetwork, ...] = ()  # networks that may deliver; none named: all


class PipedriveLimits(_Part):
    """What the company's plan grants, and how much of it is ours (facts/pipedrive.md section 10)."""

    burst: Annotated[int, Field(ge=1)] = 18  # requests in any 2 s; an API token of the smallest plan has 20
    daily_tokens: Annotated[int, Field(ge=100)] = 30_000  # per day; the smallest plan with one seat
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.2  # the share that stays for the company's other integrations

    @property
    def daily_spendable(self) -> int:
        return int(self.daily_tokens * (1 - self.reserve))


class PipedriveSide(_Part):
    company: Name
    company_id: Annotated[str, Field(pattern=r"^[0-9]{1,19}$")] | None = None  # refuses events of another company
    auth: Literal["api-token", "oauth2"] = "api-token"
    base_url: BaseUrl | None = None
    webhook: Webhook = Webhook()
    limits: PipedriveLimits = PipedriveLimits()


class NetsuiteSide(_Part):
    account: Annotated[str, AfterValidator(_read_account)]
    auth: Literal["oauth2-m2m"] = "oauth2-m2m"
    base_url: BaseUrl | None = None
    # Requests in flight; "auto" reads what NetSuite grants, which takes an administrator's role.
    concurrency: Annotated[int, Field(ge=1, le=500)] | Literal["auto"] = 5
    reserve: Annotated[int, Field(ge=0, le=500)] = 0  # of those, for the account's other integrations
    opportunities: Literal["upsert", "look-up"] = "upsert"  # Oracle's documents disagree on PUT (docs/unproven.md)

    @property
    def url(self) -> str:
        """Oracle's pattern unless configured: lower case, `_` becomes `-` (facts/netsuite.md section 1)."""
        return self.base_url or f"https://{self._label}.suitetalk.api.netsuite.com"

    @property
    def _label(self) -> str:
        return self.account.lower().replace("_", "-")

    @model_validator(mode="after")
    def _leads_to_its_account(self) -> Self:
        others = [name for name in _accounts_named_by(self.base_url) if name != self._label]
        if others:
            raise ValueError(f"base_url names {others[0]}, but account {self.account} is {self._label} in a host")
        return self


def _accounts_named_by(url: str | None) -> list[str]:
    """As hosts have them: the first name below netsuite.com; elsewhere, such as at a gateway, what looks like one."""
    host = host_of(url) if url is not None else ""
    if f".{host}".endswith(".netsuite.com"):
        return [host.partition(".")[0]]
    if literal_of(host) is not None:
        return []
    return [found[0] for found in _ACCOUNT_IN_HOST.finditer(host.replace("_", "-"))]


class Defaults(_Part):
    """What a record gets when nothing else says so."""

    subsidiary: FieldExpression = None
    customer: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None  # internal id; the parent of orphans


class EntityMapping(_Part):
    """How objects of one entity become records of one type."""

    record: RecordType
    fields: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_]*$")], FieldExpression], Field(min_length=1)
    ]
    required: tuple[str, ...] = ()
    parent: FieldExpression = None
    match: tuple[str, ...] = ()
    on_delete: Literal["inactivate", "ignore"] = "inactivate"


_RECORD_OF: dict[Entity, RecordType] = {
    "organization": "customer",
    "person": "contact",
    "deal": "opportunity",
}


class Flow(_Part):
    """A validated flow. Make one with `parse_flow`."""

    flow: Name
    environment: Environment
    pipedrive: PipedriveSide
    netsuite: NetsuiteSide
    external_ids: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,20}$")]
    defaults: Defaults = Defaults()
    stages: dict[str, StatusId] = {}
    statuses: dict[Literal["open", "won", "lost", "deleted"], StatusId] = {}
    entities: Annotated[dict[Entity, EntityMapping], Field(min_length=1)]
    schedule: dict[Literal["sync", "reconcile"], str] = {}

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        expected = environment_of(self.netsuite.account)
        if self.environment != expected:
            raise ValueError(
                f"environment is {self.environment}, but account {self.netsuite.account} is a {expected} account"
            )
        for entity, mapping in self.entities.items():
            if mapping.record != _RECORD_OF[entity]:
                raise ValueError(f"entities.{entity}.record must be {_RECORD_OF[entity]}")
            if mapping.match and mapping.record == "opportunity":
                raise ValueError(
                    f"entities.{entity}.match: opportunities are not looked for, only customers and contacts"
                )
            unknown = [name for name in mapping.required + mapping.match if name not in mapping.fields]
            if unknown:
                raise ValueError(
                    f"entities.{entity}: {unknown[0]!r} is named in required or match, but has no expression in fields"
                )
        return self

    def mapping_of(self, entity: Entity) -> EntityMapping | None:
        return self.entities.get(entity)


class FlowVersion(Wire, frozen=True):
    """One immutable version. In `connector.flows` under `<flow>/v<n>`."""

    flow: str
    version: int
    document: dict[str, Any]
    applied_at_ms: int
    applied_by: str

    def read(self) -> Flow:
        return parse_flow(self.document)


class ActiveFlow(Wire, frozen=True):
    """Which version of a flow counts. In `connector.flows` under `<flow>`."""

    flow: str
    version: int
    revision: int = 0  # counts every change of this entry: of two, the higher one counts
    paused: bool = False
    resumed_at_ms: int = 0  # when a person last said that it may go on; ends a halt from before


def parse_flow(document: Any) -> Flow:
    """Raises InvalidFlow with one line for each problem: `path: what is wrong`."""
    if not isinstance(document, Mapping):
        raise InvalidFlow(["the document is not a mapping: a flow starts with 'flow: <name>'"])
    try:
        return Flow.model_validate(_plain(document))
    except ValidationError as error:
        raise InvalidFlow([_line(problem) for problem in error.errors(include_input=False)]) from error


def _plain(document: Any) -> Any:
    """YAML readers give their own kinds of mappings, lists and scalars."""
    return msgspec.to_builtins(document)


def _line(problem: Any) -> str:
    where = ".".join(str(step) for step in problem["loc"] if step not in _UNION_BRANCHES) or "flow"
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}"


# pydantic names the branch of a union that it tried; a reader of the YAML has not written it.
_UNION_BRANCHES = frozenset(
    {"str", "bool", "int", "float", "function-after[_compiles(), nullable[union[str,bool,int,float]]]"}
)
