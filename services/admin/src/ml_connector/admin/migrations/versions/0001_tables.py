"""All tables of the first release."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

_NUMBER: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT: Final = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, _TEXT, nullable=False)


def _big(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "accepted",
        _text("cause"),
        _text("account"),
        _text("flow"),
        _text("topic"),
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        _big("topic_offset"),
        _big("at_ms"),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("cause", "account"),
    )
    op.create_index("accepted_by_place", "accepted", ["topic", "topic_partition", "topic_offset"], unique=False)
    op.create_index("accepted_of_account", "accepted", ["account"], unique=False)
    op.create_table(
        "act",
        _text("act_id"),
        _big("at_ms"),
        _text("actor"),
        _text("role"),
        _text("act"),
        _text("reason"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("act_id"),
    )
    op.create_index("act_by_time", "act", ["at_ms", "act_id"], unique=False)
    op.create_table("act_target", _text("target"), _text("act_id"), sa.PrimaryKeyConstraint("target", "act_id"))
    op.create_table(
        "cause",
        _text("cause"),
        _text("account"),
        _text("flow"),
        _text("company"),
        _text("entity"),
        _text("source_id"),
        _text("record_key"),
        _text("external_id"),
        _text("trace"),
        _text("replay_of"),
        _big("received_at_ms"),
        sa.PrimaryKeyConstraint("cause"),
    )
    op.create_index("cause_of_object", "cause", ["source_id", "entity", "company", "received_at_ms"], unique=False)
    op.create_index("cause_of_trace", "cause", ["trace"], unique=False)
    op.create_index(
        "cause_replays",
        "cause",
        ["replay_of"],
        unique=False,
        sqlite_where=sa.text("replay_of <> ''"),
        postgresql_where=sa.text("replay_of <> ''"),
    )
    op.create_table(
        "dead_letter",
        _text("letter_id"),
        _text("cause"),
        _text("record_key"),
        _text("account"),
        _text("flow"),
        _text("entity"),
        _text("source_id"),
        _text("stage"),
        _text("code"),
        _text("field"),
        sa.Column("message", sa.Text(), nullable=False),
        _text("signature"),
        _big("source_version"),
        _big("revision"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _big("first_failed_at_ms"),
        _big("failed_at_ms"),
        _big("expires_at_ms"),
        _text("replay_of"),
        _text("trace"),
        _big("size_bytes"),
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        _big("topic_offset"),
        _text("state"),
        _text("resolution"),
        _text("resolved_by"),
        _big("resolved_at_ms"),
        sa.PrimaryKeyConstraint("letter_id"),
    )
    op.create_index("letters_by_place", "dead_letter", ["topic_partition", "topic_offset"], unique=False)
    op.create_index("letters_by_state", "dead_letter", ["state", "failed_at_ms", "letter_id"], unique=False)
    op.create_index("letters_by_time", "dead_letter", ["failed_at_ms", "letter_id"], unique=False)
    op.create_index("letters_of_cause", "dead_letter", ["cause"], unique=False)
    op.create_index("letters_of_group", "dead_letter", ["signature", "state"], unique=False)
    op.create_index("letters_of_record", "dead_letter", ["record_key", "signature"], unique=False)
    op.create_table(
        "discarded",
        _text("letter_id"),
        _big("at_ms"),
        _text("actor"),
        _text("reason"),
        sa.PrimaryKeyConstraint("letter_id"),
    )
    op.create_table(
        "edited",
        _text("letter_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _big("at_ms"),
        _text("actor"),
        _text("reason"),
        sa.PrimaryKeyConstraint("letter_id"),
    )
    op.create_table(
        "flow", _text("flow"), _text("company"), _text("account"), _text("prefix"), sa.PrimaryKeyConstraint("flow")
    )
    op.create_table(
        "job",
        _text("job_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        _text("state"),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        _big("created_at_ms"),
        _big("changed_at_ms"),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("issued", sa.Integer(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("jobs_by_state", "job", ["state"], unique=False)
    op.create_index("jobs_by_time", "job", ["created_at_ms", "job_id"], unique=False)
    op.create_table(
        "job_item",
        _text("job_id"),
        sa.Column("number", sa.Integer(), nullable=False),
        _text("letter_id"),
        _text("record_key"),
        _text("account"),
        _text("cause"),
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        _big("topic_offset"),
        _big("revision"),
        _text("state"),
        _text("why"),
        sa.Column("found", sa.LargeBinary(), nullable=True),
        _big("at_ms"),
        sa.PrimaryKeyConstraint("job_id", "number"),
        sa.UniqueConstraint("cause", name="item_of_cause"),
    )
    op.create_index("items_by_state", "job_item", ["job_id", "state", "number"], unique=False)
    op.create_index("items_of_letter", "job_item", ["letter_id"], unique=False)
    op.create_table("lease", _text("name"), _text("owner"), _big("until_ms"), sa.PrimaryKeyConstraint("name"))
    op.create_table(
        "named",
        _text("folded"),
        _text("company"),
        _text("entity"),
        _text("source_id"),
        _text("name"),
        _big("at_ms"),
        sa.PrimaryKeyConstraint("folded", "company", "entity", "source_id"),
    )
    op.create_index("name_of_object", "named", ["company", "entity", "source_id"], unique=False)
    op.create_table(
        "newest",
        _text("record_key"),
        _big("source_version"),
        _big("revision"),
        _text("cause"),
        _text("outcome"),
        _big("at_ms"),
        sa.PrimaryKeyConstraint("record_key"),
    )
    op.create_table(
        "observed",
        _text("record_key"),
        _text("flow"),
        _text("account"),
        _big("source_version"),
        _big("revision"),
        _text("cause"),
        _text("outcome"),
        _text("action"),
        _text("internal_id"),
        _big("at_ms"),
        sa.PrimaryKeyConstraint("record_key"),
    )
    op.create_index("observed_internal_id", "observed", ["internal_id"], unique=False)
    op.create_table("origin", _text("name"), _text("value"), sa.PrimaryKeyConstraint("name"))
    op.create_table(
        "outbox",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        _text("topic"),
        _text("partition_key"),
        _text("key"),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "outcome",
        _text("cause"),
        _text("record_key"),
        _text("account"),
        _text("outcome"),
        sa.PrimaryKeyConstraint("cause", "record_key", "account"),
    )
    op.create_index("outcome_of_account", "outcome", ["account", "outcome"], unique=False)
    op.create_table(
        "parked",
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        _big("topic_offset"),
        _text("cause"),
        _text("account"),
        _text("flow"),
        sa.PrimaryKeyConstraint("topic_partition", "topic_offset"),
    )
    op.create_table(
        "position",
        _text("topic"),
        sa.Column("topic_partition", sa.Integer(), nullable=False),
        _big("next_offset"),
        sa.PrimaryKeyConstraint("topic", "topic_partition"),
    )
    op.create_table(
        "standing", _text("key"), _text("state"), _text("reason"), _big("at_ms"), sa.PrimaryKeyConstraint("key")
    )
    op.create_table(
        "step",
        _text("cause"),
        _text("kind"),
        _text("record_key"),
        _big("subject"),
        _big("at_ms"),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("cause", "kind", "record_key"),
    )
    op.create_index("step_of_subject", "step", ["subject", "at_ms"], unique=False)
    op.create_table(
        "waiting",
        _text("key"),
        _text("cause"),
        _text("account"),
        _text("flow"),
        _text("lane"),
        _text("record_key"),
        _text("parent_key"),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("waiting_for_parent", "waiting", ["parent_key"], unique=False)
    op.create_index("waiting_of_account", "waiting", ["account"], unique=False)
    op.create_index("waiting_of_record", "waiting", ["record_key"], unique=False)
