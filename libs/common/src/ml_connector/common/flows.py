"""What a flow says (DESIGN section 5): one Pipedrive company, one NetSuite account, one mapping. Pure.

In: a document as YAML or JSON has it. Out: a `Flow`, or `InvalidFlow` with every problem and where it stands.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, model_validator

from ml_connector.common.addresses import host_of, literal_of
from ml_connector.common.codec import Wire
from ml_connector.common.drift import Policy
from ml_connector.common.errors import AddressRefused, InvalidFlow
from ml_connector.common.expressions import compile_expression
from ml_connector.common.flow_lines import lines_of
from ml_connector.common.flow_rules import broken_rules
from ml_connector.common.keys import Entity, RecordType
from ml_connector.common.schedule_job import ScheduleKind

Environment = Literal["sandbox", "production"]
Verification = Literal["hmac-sha256", "basic", "both"]

_MAPPED_BY: Final = ("entities", "defaults", "stages", "statuses")

MAX_PROBLEMS: Final = 100  # told at once

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
        likely = text.strip().upper().replace("-", "_")
        hint = f"; did you mean {likely!r}?" if likely.isascii() and is_account(likely) else ""
        raise ValueError(f"an account id is in capitals, without spaces: 1234567, or 1234567_SB1 for a sandbox{hint}")
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
    oauth_url: BaseUrl = "https://oauth.pipedrive.com/oauth/token"
    events: Literal["webhooks", "none"] = "webhooks"  # `none`: only syncs on a schedule bring what changes
    webhook: Webhook = Webhook()
    limits: PipedriveLimits = PipedriveLimits()


class Push(_Part):
    """A script in NetSuite tells of changes: `POST /webhooks/netsuite/<flow>`, once the flow has a shared secret."""

    allow_from: tuple[IPvAnyNetwork, ...] = ()  # networks that may; none named: all


NetsuiteAuth = Literal["oauth2-m2m", "tba"]  # the names of the credentials, too


class NetsuiteSide(_Part):
    account: Annotated[str, AfterValidator(_read_account)]
    auth: NetsuiteAuth = "oauth2-m2m"  # `tba` ends in 2028 (docs/connecting.md)
    base_url: BaseUrl | None = None
    # Requests in flight; "auto" reads what NetSuite grants, which takes an administrator's role.
    concurrency: Annotated[int, Field(ge=1, le=500)] | Literal["auto"] = 5
    reserve: Annotated[int, Field(ge=0, le=500)] = 0  # of those, for the account's other integrations
    opportunities: Literal["upsert", "look-up"] = "upsert"  # Oracle's documents disagree on PUT (docs/unproven.md)
    drift: Policy = "report"  # what becomes of a change that was made in NetSuite; `assert` undoes it
    push: Push = Push()

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
    drift: Policy | None = None  # other than `netsuite.drift`


class Schedule(_Part):
    """When jobs begin by themselves: cron expressions of five fields, in `time_zone`."""

    sync: str | None = None
    reconcile: str | None = None
    netsuite_poll: str | None = None
    deletions: str | None = None
    time_zone: str = "UTC"
    jitter: Annotated[int, Field(ge=0, le=3600)] = 60  # s; each flow begins its own part of them later
    first: Literal["full", "changes"] = "full"  # of syncs, the one that has none before it
    after_mapping_change: Literal["changes", "full"] = "changes"  # of syncs, the next one
    token_share: Annotated[float, Field(gt=0, le=1)] = 0.5  # of syncs; as `mlc sync --token-share`

    def cron_of(self, kind: ScheduleKind) -> str | None:
        found: str | None = getattr(self, kind)
        return found


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
    schedule: Schedule = Schedule()

    def drift_of(self, entity: Entity) -> Policy:
        mapping = self.mapping_of(entity)
        return mapping.drift if mapping is not None and mapping.drift is not None else self.netsuite.drift

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


def document_of(flow: Flow) -> dict[str, Any]:
    """As a version keeps it: what is like the default is left out. `parse_flow` makes the same flow of it."""
    return flow.model_dump(mode="json", exclude_defaults=True, by_alias=True)


def mapping_digest(flow: Flow) -> str:
    """Of all that decides what a record becomes."""
    document = document_of(flow)
    return hashlib.sha256(msgspec.json.encode([document.get(one) for one in _MAPPED_BY], order="sorted")).hexdigest()


def parse_flow(document: Any) -> Flow:
    """Raises InvalidFlow with one line for each problem: `path: what is wrong`. Nothing else makes a Flow."""
    if not isinstance(document, Mapping):
        raise InvalidFlow(["the document is not a mapping: a flow starts with 'flow: <name>'"])
    try:
        plain = msgspec.to_builtins(document)  # YAML readers give their own kinds of mappings, lists and scalars
    except RecursionError as error:
        raise InvalidFlow(["the document is nested too deeply"]) from error
    try:
        flow, problems = Flow.model_validate(plain), []
    except ValidationError as error:
        flow, problems = None, lines_of(error, Flow)
    problems += [*_mixes_environments(plain), *broken_rules(plain)]
    if flow is None or problems:
        raise InvalidFlow(_in_short(problems))
    return flow


def _mixes_environments(document: Mapping[str, Any]) -> Iterator[str]:
    """Sandbox and production never mix (DESIGN section 3, rule 8)."""
    environment, netsuite = document.get("environment"), document.get("netsuite")
    account = netsuite.get("account") if isinstance(netsuite, dict) else None
    if not isinstance(account, str) or not is_account(account) or environment not in get_args(Environment):
        return
    expected = environment_of(account)
    if environment != expected:
        yield f"environment: environment is {environment}, but account {account} is a {expected} account"


def _in_short(problems: list[str]) -> list[str]:
    left_out = len(problems) - MAX_PROBLEMS
    return problems if left_out <= 0 else [*problems[:MAX_PROBLEMS], f"flow: and {left_out} more problems"]
